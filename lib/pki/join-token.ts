/**
 * The token by which a host becomes a node: a secret for the server, the pin of the authority for the host, and the name of
 * the node. Printable, and one word for a shell.
 */
import { createHash } from "node:crypto";
import type { X509Certificate } from "node:crypto";
import type { Random } from "../random.ts";

/** 260 bits. */
const SECRET_LENGTH = 52;
const TOKEN = /^dj1\.([a-z0-9]{52})\.([A-Za-z0-9_-]{43})\.([a-z0-9.-]{1,253})$/;

export type JoinToken = { secret: string; pin: string; node: string };

export const newSecret = (random: Random): string => random.token(SECRET_LENGTH);

export function formatJoinToken({ secret, pin, node }: JoinToken): string {
  return `dj1.${secret}.${pin}.${node}`;
}

/** Undefined for a text that is none. */
export function parseJoinToken(text: string): JoinToken | undefined {
  const [, secret, pin, node] = TOKEN.exec(text.trim()) ?? [];
  return secret === undefined || pin === undefined || node === undefined ? undefined : { secret, pin, node };
}

/** What is kept of a secret. */
export function secretDigest(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

/** What a certificate's key is known by: the base64url SHA-256 of its public key's DER form. */
export function pinOf(certificate: X509Certificate): string {
  return createHash("sha256").update(certificate.publicKey.export({ type: "spki", format: "der" })).digest("base64url");
}
