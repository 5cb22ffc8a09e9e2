/**
 * Which agent is a node: its token, its enrolment, its renewal, its revocation. All of it is one part of one record, so
 * that using a token and raising the incarnation are one compare-and-set. Pure.
 */
import { timingSafeEqual } from "node:crypto";
import { SecretValue } from "../../gen/drover/v1/meta.ts";
import { NodeIdentity, NodeStatus } from "../../gen/drover/v1/node.ts";
import type { Node, NodeToken } from "../../gen/drover/v1/node.ts";
import { Unauthenticated } from "../../lib/errors.ts";

/** As in a certificate. */
export type CertificateOf = { uid: string; incarnation: number };

export const identityOf = (node: Node): NodeIdentity => node.status?.identity ?? NodeIdentity.create();

/** Whether the certificate is of the agent that the record names. */
export function stands(node: Node | undefined, { uid, incarnation }: CertificateOf): boolean {
  if (node?.metadata?.uid !== uid) return false;
  const identity = identityOf(node);
  return !identity.revoked && identity.incarnation === incarnation;
}

/** The token before can no longer be used. */
export function withToken(node: Node, { digest, expires }: { digest: string; expires: Date }): Node {
  const token: NodeToken = { digest: { ...SecretValue.create(), value: digest }, expireTime: expires, usedTime: undefined };
  return withIdentity(node, { token });
}

export type TokenFault =
  /** There is no token, or another one. */
  | "unknown"
  | "used"
  | "late";

/** What is wrong with a token of that digest; undefined when it may be used. Takes the same time for every wrong digest. */
export function tokenFault(node: Node | undefined, { digest, now }: { digest: string; now: Date }): TokenFault | undefined {
  const token = node?.status?.identity?.token;
  const same = sameDigest(token?.digest?.value ?? "", digest);
  if (!token || !same) return "unknown";
  if (token.usedTime) return "used";
  return token.expireTime !== undefined && token.expireTime > now ? undefined : "late";
}

function sameDigest(known: string, given: string): boolean {
  const bytes = (text: string) => Buffer.from(text.padEnd(64, "-"));
  return timingSafeEqual(bytes(known).subarray(0, 64), bytes(given).subarray(0, 64)) && known.length === given.length;
}

export type Enrolling = { digest: string; now: Date; expires: Date };

/** Uses the token up. Of two that come at once, the second finds it used. */
export function enrolled(node: Node, { digest, now, expires }: Enrolling): Node {
  if (tokenFault(node, { digest, now }) !== undefined) throw unknownToken();
  const { incarnation, token } = identityOf(node);
  return withIdentity(node, {
    incarnation: incarnation + 1,
    revoked: false,
    enrolledTime: now,
    certificateExpireTime: expires,
    token: token && { ...token, usedTime: now },
  });
}

/** One message for all that may be wrong: nothing is to be learnt from it. */
export const unknownToken = () => new Unauthenticated("The token cannot be used: it is unknown, used, replaced or too old");

/** Undefined when the record says so already. */
export function renewed(node: Node, expires: Date): Node | undefined {
  return identityOf(node).certificateExpireTime?.getTime() === expires.getTime() ? undefined : withIdentity(node, { certificateExpireTime: expires });
}

/** Raises the incarnation, so that no certificate of before counts when a new token undoes it. Its token goes, too. */
export function revoked(node: Node): Node | undefined {
  const { incarnation, revoked: already } = identityOf(node);
  return already ? undefined : withIdentity(node, { incarnation: incarnation + 1, revoked: true, certificateExpireTime: undefined, token: undefined });
}

function withIdentity(node: Node, change: Partial<NodeIdentity>): Node {
  const status = node.status ?? NodeStatus.create();
  return { ...node, status: { ...status, identity: { ...identityOf(node), ...change } } };
}
