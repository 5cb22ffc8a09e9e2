/** Certificates for tests of what is below the agents, where no api-server is there to make them. */
import "reflect-metadata";
import type { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { systemClock } from "../../lib/clock.ts";
import { systemRandom } from "../../lib/random.ts";
import { installQemuPki } from "../../node-agent/door/qemu-pki.ts";

const KEY = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNATURE = { name: "ECDSA", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;
const VALID_DAYS = 365;
const RANDOM_SERIAL_BYTES = 15;

export type CertificateFiles = { cert: string; key: string; ca: string };
export type CertificateSubject = { commonName: string; addresses?: string[]; names?: string[]; uris?: string[] };
type Pem = { cert: string; key: string };

export class Authority {
  readonly certificatePem: string;
  readonly #certificate: x509.X509Certificate;
  readonly #keys: webcrypto.CryptoKeyPair;

  private constructor(certificate: x509.X509Certificate, keys: webcrypto.CryptoKeyPair) {
    this.#certificate = certificate;
    this.#keys = keys;
    this.certificatePem = `${certificate.toString("pem")}\n`;
  }

  static async create(name: string): Promise<Authority> {
    const keys = await newKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      ...frame(),
      name: `CN=${name}`,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new Authority(certificate, keys);
  }

  /** One certificate for both ends of a connection, since every part of the lab verifies its peer. */
  async issue({ commonName, addresses = [], names = [], uris = [] }: CertificateSubject): Promise<Pem> {
    const keys = await newKeys();
    const certificate = await x509.X509CertificateGenerator.create({
      ...frame(),
      subject: `CN=${commonName}`,
      issuer: this.#certificate.subject,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        // QEMU wants to see key encipherment also for keys that can only sign.
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
        new x509.SubjectAlternativeNameExtension([
          ...addresses.map((value) => ({ type: "ip" as const, value })),
          ...names.map((value) => ({ type: "dns" as const, value })),
          ...uris.map((value) => ({ type: "url" as const, value })),
        ]),
        await x509.AuthorityKeyIdentifierExtension.create(this.#certificate, false),
      ],
    });
    return { cert: `${certificate.toString("pem")}\n`, key: await privateKeyPem(keys.privateKey) };
  }
}

/** One host's certificate for QEMU, under the names that it looks for. */
export async function writeQemuPki(directory: string, authority: Authority, subject: CertificateSubject): Promise<void> {
  const pem = await authority.issue(subject);
  installQemuPki(directory, { ...pem, ca: authority.certificatePem }, { uid: process.getuid!(), gid: process.getgid!() });
}

function frame() {
  const nowMs = systemClock.now().getTime();
  return {
    serialNumber: `01${Buffer.from(systemRandom.token(RANDOM_SERIAL_BYTES)).toString("hex")}`,
    notBefore: new Date(nowMs - DAY_MS),
    notAfter: new Date(nowMs + VALID_DAYS * DAY_MS),
    signingAlgorithm: SIGNATURE,
  };
}

const newKeys = () => crypto.subtle.generateKey(KEY, true, ["sign", "verify"]);

async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  const base64 = Buffer.from(await crypto.subtle.exportKey("pkcs8", key)).toString("base64");
  return `-----BEGIN PRIVATE KEY-----\n${base64.match(/.{1,64}/g)!.join("\n")}\n-----END PRIVATE KEY-----\n`;
}
