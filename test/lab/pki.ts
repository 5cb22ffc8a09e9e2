/**
 * The lab's certificates. Two authorities: the hosts' one for libvirt and QEMU, Drover's one for its own parts, so
 * that an agent's certificate opens no host and a host's certificate is no agent.
 */
import "reflect-metadata";
import type { webcrypto } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { systemClock } from "../../lib/clock.ts";
import { systemRandom } from "../../lib/random.ts";

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
        // Libvirt wants to see key encipherment also for keys that can only sign.
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

/** The certificates of Drover's own parts, each as files below one directory. */
export class Pki {
  readonly ca: string;
  readonly #authority: Authority;
  readonly #directory: string;

  private constructor(directory: string, authority: Authority) {
    this.#directory = directory;
    this.#authority = authority;
    this.ca = filesIn(directory, "ca").ca;
  }

  static async create(directory: string, { serverAddress, nodes }: { serverAddress: string; nodes: readonly string[] }): Promise<Pki> {
    await mkdir(directory, { recursive: true });
    const pki = new Pki(directory, await Authority.create("drover lab"));
    await writeFile(pki.ca, pki.#authority.certificatePem);
    await pki.issue("api-server", { commonName: "drover-api-server", addresses: [serverAddress, "127.0.0.1"], names: ["localhost"] });
    await Promise.all(nodes.map((name) => pki.issueNode(name)));
    return pki;
  }

  /** The certificates below a directory, made there if it has none. Nothing more can be issued from those it finds. */
  static async open(directory: string, subjects: { serverAddress: string; nodes: readonly string[] }): Promise<PkiFiles> {
    const files = { apiServer: filesIn(directory, "api-server"), node: (name: string) => filesIn(directory, `node-${name}`) };
    const wanted = [files.apiServer, ...subjects.nodes.map(files.node)].flatMap(({ ca, cert, key }) => [ca, cert, key]);
    if (!wanted.every((path) => existsSync(path))) await Pki.create(directory, subjects);
    return files;
  }

  get apiServer(): CertificateFiles {
    return this.#files("api-server");
  }

  /** The client certificate by which the api-server knows the node's agent. */
  node(name: string): CertificateFiles {
    return this.#files(`node-${name}`);
  }

  issueNode(name: string): Promise<CertificateFiles> {
    return this.issue(`node-${name}`, { commonName: name, uris: [`spiffe://drover/node/${name}`] });
  }

  async issue(fileName: string, subject: CertificateSubject): Promise<CertificateFiles> {
    const files = this.#files(fileName);
    await writePair(files, await this.#authority.issue(subject));
    return files;
  }

  #files(fileName: string): CertificateFiles {
    return filesIn(this.#directory, fileName);
  }
}

/** Where a node's and the server's certificates are. */
export type PkiFiles = { apiServer: CertificateFiles; node(name: string): CertificateFiles };

const filesIn = (directory: string, fileName: string): CertificateFiles => ({
  cert: join(directory, `${fileName}.pem`),
  key: join(directory, `${fileName}.key`),
  ca: join(directory, "ca.pem"),
});

/** Lays out one host's certificate under the names that libvirt and QEMU each look for. */
export async function writeHostPki(directory: string, authority: Authority, subject: CertificateSubject): Promise<void> {
  const pem = await authority.issue(subject);
  const [authorities, libvirt, qemu] = [join(directory, "CA"), join(directory, "libvirt"), join(directory, "qemu")];
  await Promise.all([authorities, join(libvirt, "private"), qemu].map((path) => mkdir(path, { recursive: true })));
  await writeFile(join(authorities, "cacert.pem"), authority.certificatePem);
  await writeFile(join(qemu, "ca-cert.pem"), authority.certificatePem);
  for (const end of ["server", "client"]) {
    await writePair({ cert: join(libvirt, `${end}cert.pem`), key: join(libvirt, "private", `${end}key.pem`) }, pem);
    await writePair({ cert: join(qemu, `${end}-cert.pem`), key: join(qemu, `${end}-key.pem`) }, pem);
  }
}

async function writePair(files: Pem, pem: Pem): Promise<void> {
  await writeFile(files.cert, pem.cert);
  await writeFile(files.key, pem.key, { mode: 0o600 });
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
