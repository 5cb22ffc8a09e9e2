/**
 * Certificates as the authority makes them: what stands in each kind of them, and requests as they come in. Of a request
 * only the key is taken, and only after the request has shown that its sender has it.
 */
import "reflect-metadata";
import type { webcrypto } from "node:crypto";
import {
  AuthorityKeyIdentifierExtension, BasicConstraintsExtension, ExtendedKeyUsage, ExtendedKeyUsageExtension, KeyUsageFlags, KeyUsagesExtension,
  Pkcs10CertificateRequest, SubjectAlternativeNameExtension, SubjectKeyIdentifierExtension, X509CertificateGenerator,
} from "@peculiar/x509";
import type { Extension, JsonName, X509Certificate } from "@peculiar/x509";
import { InvalidArgument } from "../../lib/errors.ts";
import { identityUri, serverNameOf } from "../../lib/pki/identity.ts";
import type { Identity } from "../../lib/pki/identity.ts";
import { ECDSA_SHA256 } from "../../lib/pki/keys.ts";
import type { KeyPair } from "../../lib/pki/keys.ts";
import type { Lifetime } from "../../lib/pki/lifetime.ts";
import type { Random } from "../../lib/random.ts";

const SERIAL_CHARACTERS = 19;
const BACKDATED_MS = 5 * 60_000;
/** At most this part of a life, so that half of a short one is not over when it begins. */
const BACKDATED_PART = 10;
const CA_MS = 10 * 365 * 86_400_000;
const REQUEST_BYTES_MAX = 8 * 1024;

export type PublicKey = webcrypto.CryptoKey;

/** Who signs: a certificate and the private key of it. */
export type Signer = { certificate: X509Certificate; privateKey: webcrypto.CryptoKey };

export type Subject = {
  identity: Identity;
  trustDomain: string;
  /** How a server is found, besides the names that follow from the identity. */
  names?: readonly string[];
  addresses?: readonly string[];
  groups?: readonly string[];
};

/** Clocks of hosts differ a little, so every certificate begins before it is made. Whole seconds, as certificates have no others. */
export function lifetime(now: Date, ms: number): Lifetime {
  const fromMs = Math.floor(now.getTime() / 1_000) * 1_000;
  return { notBefore: new Date(fromMs - Math.min(BACKDATED_MS, ms / BACKDATED_PART)), notAfter: new Date(fromMs + ms) };
}

export async function selfSigned(keys: KeyPair, name: string, { now, random }: { now: Date; random: Random }): Promise<X509Certificate> {
  return X509CertificateGenerator.createSelfSigned({
    ...lifetime(now, CA_MS),
    serialNumber: serialNumber(random),
    signingAlgorithm: ECDSA_SHA256,
    name: [{ CN: [name] }],
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
}

export async function issue(
  { certificate, privateKey }: Signer,
  { publicKey, subject, life, random }: { publicKey: PublicKey; subject: Subject; life: Lifetime; random: Random },
): Promise<X509Certificate> {
  // Nothing outlives the authority that it hangs on.
  const notAfter = new Date(Math.min(life.notAfter.getTime(), certificate.notAfter.getTime()));
  return X509CertificateGenerator.create({
    notBefore: life.notBefore,
    notAfter,
    serialNumber: serialNumber(random),
    signingAlgorithm: signatureOf(privateKey),
    subject: subjectName(subject),
    issuer: certificate.subjectName,
    publicKey,
    signingKey: privateKey,
    extensions: [...extensionsOf(subject), await AuthorityKeyIdentifierExtension.create(certificate.publicKey)],
  });
}

const signatureOf = ({ algorithm }: webcrypto.CryptoKey) => (algorithm.name === "ECDSA" ? ECDSA_SHA256 : { ...algorithm, hash: "SHA-256" });

function subjectName({ identity, groups = [] }: Subject): JsonName {
  const name = identity.kind === "user" ? identity.name : "uid" in identity ? `${identity.kind} ${identity.uid}` : identity.kind;
  return [{ CN: [name] }, ...groups.map((group) => ({ O: [group] }))];
}

function extensionsOf({ identity, trustDomain, names = [], addresses = [] }: Subject): Extension[] {
  const own = identity.kind === "node" || identity.kind === "migration" ? [serverNameOf(trustDomain, identity)] : [];
  return [
    new BasicConstraintsExtension(false, undefined, true),
    // GnuTLS, which QEMU uses, wants key encipherment also of keys that can only sign.
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment, true),
    new ExtendedKeyUsageExtension(usagesOf(identity)),
    new SubjectAlternativeNameExtension([
      { type: "url", value: identityUri(trustDomain, identity) },
      ...[...own, ...names].map((value) => ({ type: "dns" as const, value })),
      ...addresses.map((value) => ({ type: "ip" as const, value })),
    ]),
  ];
}

function usagesOf({ kind }: Identity): ExtendedKeyUsage[] {
  const { serverAuth, clientAuth } = ExtendedKeyUsage;
  if (kind === "api-server") return [serverAuth];
  return kind === "node" || kind === "migration" ? [serverAuth, clientAuth] : [clientAuth];
}

/** 20 bytes, 95 bits of chance in them, behind a first one that keeps the number positive. */
const serialNumber = (random: Random): string => `01${Buffer.from(random.token(SERIAL_CHARACTERS)).toString("hex")}`;

/** The key that a request asks a certificate for. Everything else in it is as if it were not there. */
export async function keyOfRequest(pem: string, path: string): Promise<PublicKey> {
  const invalid = (message: string, cause?: unknown) => Object.assign(new InvalidArgument([{ path, message }]), { cause });
  if (Buffer.byteLength(pem) > REQUEST_BYTES_MAX) throw invalid(`must be at most ${REQUEST_BYTES_MAX} bytes`);
  let request: Pkcs10CertificateRequest;
  let key: PublicKey;
  try {
    request = new Pkcs10CertificateRequest(pem);
    key = await request.publicKey.export();
  } catch (cause) {
    throw invalid("must be a certificate request (PKCS #10) in PEM with a P-256 or Ed25519 key", cause);
  }
  if (!isAllowed(key)) throw invalid("must be for a P-256 or Ed25519 key");
  if (!(await request.verify().catch(() => false))) throw invalid("must be signed by its own key");
  return key;
}

function isAllowed({ algorithm }: PublicKey): boolean {
  return algorithm.name === "Ed25519" || (algorithm.name === "ECDSA" && (algorithm as { namedCurve?: string }).namedCurve === "P-256");
}

export const pemOf = (certificate: X509Certificate): string => `${certificate.toString("pem")}\n`;
