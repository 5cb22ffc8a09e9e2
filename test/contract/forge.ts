/** Certificates as an attacker, or a mistake, would have them: any names, any lifetime, any signer. */
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  BasicConstraintsExtension, ExtendedKeyUsage, ExtendedKeyUsageExtension, KeyUsageFlags, KeyUsagesExtension, SubjectAlternativeNameExtension, X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import type { ClientTls } from "../../lib/client.ts";
import { ECDSA_SHA256, newKeyPair, P256, privateKeyPem } from "../../lib/pki/keys.ts";
import type { KeyPair } from "../../lib/pki/keys.ts";

const DAY_MS = 86_400_000;

export type Signer = { certificate: X509Certificate; privateKey: webcrypto.CryptoKey };
export type Forgery = { uris?: string[]; names?: string[]; groups?: string[]; fromDays?: number; toDays?: number; usage?: ExtendedKeyUsage[] };

/** The signer of an authority's own files. */
export async function signerIn(directory: string): Promise<Signer> {
  const der = Buffer.from(readFileSync(join(directory, "ca.key"), "utf8").replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
  const privateKey = await webcrypto.subtle.importKey("pkcs8", der, P256, false, ["sign"]);
  return { certificate: new X509Certificate(readFileSync(join(directory, "ca.pem"), "utf8")), privateKey };
}

export type NewAuthority = { signer: Signer; keys: KeyPair; pem: string };

/** A root, or an authority below another one. */
export async function anAuthority(name: string, { below, toDays = 30 }: { below?: Signer; toDays?: number } = {}): Promise<NewAuthority> {
  const keys = await newKeyPair();
  const certificate = await X509CertificateGenerator.create({
    ...frame({ fromDays: -1, toDays }),
    subject: `CN=${name}`,
    issuer: below?.certificate.subjectName ?? `CN=${name}`,
    publicKey: keys.publicKey,
    signingKey: below?.privateKey ?? keys.privateKey,
    extensions: [new BasicConstraintsExtension(true, below ? 0 : 1, true), new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true)],
  });
  return { signer: { certificate, privateKey: keys.privateKey }, keys, pem: `${certificate.toString("pem")}\n` };
}

/** Files of a client that shows what was forged; it trusts `ca`. Without a signer it has signed its certificate itself. */
export async function forge(directory: string, { ca, signer, chain = "", ...forgery }: Forgery & { ca: string; signer?: Signer; chain?: string }): Promise<ClientTls> {
  const { uris = [], names = [], groups = [], usage = [ExtendedKeyUsage.clientAuth] } = forgery;
  const keys = await newKeyPair();
  const certificate = await X509CertificateGenerator.create({
    ...frame(forgery),
    subject: [{ CN: ["forged"] }, ...groups.map((group) => ({ O: [group] }))],
    issuer: signer?.certificate.subjectName ?? "CN=forged",
    publicKey: keys.publicKey,
    signingKey: signer?.privateKey ?? keys.privateKey,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new ExtendedKeyUsageExtension(usage),
      ...(uris.length + names.length === 0 ? [] : [new SubjectAlternativeNameExtension([...uris.map((value) => ({ type: "url" as const, value })), ...names.map((value) => ({ type: "dns" as const, value }))])]),
    ],
  });
  mkdirSync(directory, { recursive: true });
  const [cert, key] = [join(directory, "forged.pem"), join(directory, "forged.key")];
  writeFileSync(cert, `${certificate.toString("pem")}\n${chain}`);
  writeFileSync(key, await privateKeyPem(keys), { mode: 0o600 });
  return { ca, cert, key };
}

function frame({ fromDays = -1, toDays = 1 }: Pick<Forgery, "fromDays" | "toDays">) {
  const serialNumber = `01${Buffer.from(webcrypto.getRandomValues(new Uint8Array(12))).toString("hex")}`;
  const at = (days: number) => new Date(Date.now() + days * DAY_MS);
  return { serialNumber, notBefore: at(fromDays), notAfter: at(toDays), signingAlgorithm: ECDSA_SHA256 };
}
