/** Who a certificate is for: the one URI in it (pure). */
import { X509Certificate } from "node:crypto";
import { parseIdentity } from "../../lib/pki/identity.ts";

export type NodeIdentity = { trustDomain: string; uid: string; incarnation: number };

const URI = "URI:";

/** The certificate's only URI; undefined when it has none or several, or when a name in it needs quoting. */
export function uriOf(subjectAltName: string | undefined): string | undefined {
  if (subjectAltName === undefined || subjectAltName.includes('"')) return undefined;
  const uris = subjectAltName.split(", ").filter((name) => name.startsWith(URI));
  return uris.length === 1 ? uris[0]!.slice(URI.length) : undefined;
}

/** Which node a certificate of this node's own is for; undefined when it is for something else. */
export function ownIdentityIn(pem: string): NodeIdentity | undefined {
  const uri = uriOf(new X509Certificate(pem).subjectAltName) ?? "";
  const trustDomain = /^spiffe:\/\/([^/]+)\//.exec(uri)?.[1] ?? "";
  const identity = parseIdentity(trustDomain, uri);
  return identity?.kind === "node" ? { trustDomain, uid: identity.uid, incarnation: identity.incarnation } : undefined;
}
