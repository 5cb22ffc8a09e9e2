/** Private keys and certificate requests, made where the key stays. Nothing is signed here but a request, by its own key. */
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import { Pkcs10CertificateRequestGenerator } from "@peculiar/x509";

export type KeyPair = webcrypto.CryptoKeyPair;

export const P256 = { name: "ECDSA", namedCurve: "P-256" } as const;
export const ECDSA_SHA256 = { name: "ECDSA", hash: "SHA-256" } as const;

export function newKeyPair(): Promise<KeyPair> {
  return webcrypto.subtle.generateKey(P256, true, ["sign", "verify"]);
}

/** PKCS #8, PEM. */
export async function privateKeyPem({ privateKey }: KeyPair): Promise<string> {
  const base64 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", privateKey)).toString("base64");
  return `-----BEGIN PRIVATE KEY-----\n${base64.match(/.{1,64}/g)!.join("\n")}\n-----END PRIVATE KEY-----\n`;
}

/** PKCS #10, PEM. It names nobody: the authority takes nothing but the key. */
export async function requestPem(keys: KeyPair): Promise<string> {
  const request = await Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm: ECDSA_SHA256 });
  return `${request.toString("pem")}\n`;
}

/** A fresh key and the request for its certificate. */
export async function newRequest(): Promise<{ keyPem: string; csrPem: string }> {
  const keys = await newKeyPair();
  return { keyPem: await privateKeyPem(keys), csrPem: await requestPem(keys) };
}
