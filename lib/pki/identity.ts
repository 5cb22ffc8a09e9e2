/**
 * The names in certificates: one URI "spiffe://<trust domain>/..." says who somebody is, DNS names say how a peer finds
 * it. Pure, and the one place that writes or reads them.
 */

export type Identity =
  /** A node's agent. `uid` is the node record's. */
  | { kind: "node"; uid: string; incarnation: number }
  /** QEMU on a node, which may migrate guests and nothing else. */
  | { kind: "migration"; uid: string; incarnation: number }
  | { kind: "controller" }
  | { kind: "api-server" }
  | { kind: "user"; name: string };

const UID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
const TRUST_DOMAIN = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const NODE = new RegExp(`^(node|migration)/(${UID})/([1-9][0-9]{0,14})$`);
const USER = /^user\/([A-Za-z0-9]([A-Za-z0-9._@-]{0,126}[A-Za-z0-9])?)$/;

export const isTrustDomain = (text: string): boolean => TRUST_DOMAIN.test(text);
export const isUserName = (text: string): boolean => USER.test(`user/${text}`);

export function identityUri(trustDomain: string, identity: Identity): string {
  return `spiffe://${trustDomain}/${pathOf(identity)}`;
}

function pathOf(identity: Identity): string {
  switch (identity.kind) {
    case "node":
    case "migration":
      return `${identity.kind}/${identity.uid}/${identity.incarnation}`;
    case "user":
      return `user/${identity.name}`;
    case "controller":
    case "api-server":
      return identity.kind;
  }
}

/** Undefined for a URI of another trust domain or of no known form. */
export function parseIdentity(trustDomain: string, uri: string): Identity | undefined {
  const prefix = `spiffe://${trustDomain}/`;
  if (!uri.startsWith(prefix)) return undefined;
  const path = uri.slice(prefix.length);
  if (path === "controller" || path === "api-server") return { kind: path };
  const user = USER.exec(path)?.[1];
  if (user !== undefined) return { kind: "user", name: user };
  const [, kind, uid, incarnation] = NODE.exec(path) ?? [];
  if (kind === undefined || uid === undefined) return undefined;
  return { kind: kind === "node" ? "node" : "migration", uid, incarnation: Number(incarnation) };
}

/** The identity in a certificate's alternative names, as Node prints them; undefined unless there is exactly one URI, and it is ours. */
export function identityIn(trustDomain: string, subjectAltName: string): Identity | undefined {
  // An entry with a comma or a quote in it is printed in quotes, which no URI of ours ever is.
  const uris = subjectAltName.split(", ").filter((entry) => entry.includes("URI:"));
  const [only] = uris;
  if (uris.length !== 1 || only === undefined || !only.startsWith("URI:")) return undefined;
  return parseIdentity(trustDomain, only.slice("URI:".length));
}

/** The DNS name by which a node's agent, or its QEMU, is verified as a server. */
export function serverNameOf(trustDomain: string, { kind, uid }: { kind: "node" | "migration"; uid: string }): string {
  return `${uid}.${kind}.${trustDomain}`;
}
