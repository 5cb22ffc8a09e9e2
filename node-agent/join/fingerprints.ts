/** What certificates are called where they are only to be told apart. */
import { X509Certificate } from "node:crypto";

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** SHA-256 of each certificate in the text, in its order, in hexadecimal. */
export const fingerprintsOf = (pem: string): string[] =>
  (pem.match(CERTIFICATE) ?? []).map((one) => new X509Certificate(one).fingerprint256.replaceAll(":", "").toLowerCase());
