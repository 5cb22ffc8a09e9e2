/**
 * Drover's own certificate authority: one key, made at the first start or brought along, that says who agents, users and
 * Drover's programs are. It knows nothing of records: who may have a certificate is decided before it is asked.
 */
import "reflect-metadata";
import { createPrivateKey, createPublicKey, webcrypto, X509Certificate as NodeCertificate } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { X509Certificate } from "@peculiar/x509";
import type { Clock } from "../../lib/clock.ts";
import type { Identity } from "../../lib/pki/identity.ts";
import { pinOf } from "../../lib/pki/join-token.ts";
import { newKeyPair, P256, privateKeyPem } from "../../lib/pki/keys.ts";
import { CERTIFICATE_MS } from "../../lib/pki/lifetime.ts";
import type { Lifetime } from "../../lib/pki/lifetime.ts";
import type { Random } from "../../lib/random.ts";
import { issue, lifetime, pemOf, selfSigned } from "./certificates.ts";
import type { PublicKey, Signer, Subject } from "./certificates.ts";
import { PairFiles } from "./files.ts";
import type { Pair } from "./files.ts";

export const CA = "ca";
/** Signs for QEMU alone, which takes every certificate of its authority for a peer's: no user's or agent's may be among them. */
const MIGRATION_CA = "migration-ca";
const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

export type AuthorityOptions = {
  directory: string;
  trustDomain: string;
  clock: Clock;
  random: Random;
  /** How long certificates of nodes and of Drover's programs live; a day unless it is said. */
  certificateMs?: number;
};

export type Issued = { pem: string; life: Lifetime };

export type NodeKeys = { agent: PublicKey; migration: PublicKey };

/** The part of the authority that makes certificates for users. */
export interface Issuer {
  issueUser(user: { name: string; groups: readonly string[]; ttlMs: number; publicKey: PublicKey }): Promise<Issued>;
}

export class Authority implements Issuer {
  readonly trustDomain: string;
  /** The whole chain, the certificate that signs first. */
  readonly caPem: string;
  /** What QEMU trusts in QEMU, and nobody else trusts. */
  readonly migrationCaPem: string;
  /** By which a host that joins knows the authority. */
  readonly pin: string;
  readonly files: PairFiles;
  readonly #signer: Signer;
  readonly #migrationSigner: Signer;
  readonly #own: NodeCertificate;
  readonly #isRoot: boolean;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #certificateMs: number;

  private constructor({ trustDomain, clock, random, certificateMs = CERTIFICATE_MS }: AuthorityOptions, files: PairFiles, { own, migration }: { own: Standing; migration: Standing }) {
    const { chain, pem: caPem } = own;
    this.trustDomain = trustDomain;
    this.caPem = caPem;
    this.files = files;
    this.#own = chain[0]!;
    this.#isRoot = chain.length === 1;
    this.pin = pinOf(this.#own);
    this.#signer = own.signer;
    this.migrationCaPem = migration.pem;
    this.#migrationSigner = migration.signer;
    this.#clock = clock;
    this.#random = random;
    this.#certificateMs = certificateMs;
  }

  /** Throws what the administrator has to put right: half a pair, a key that others can read, a chain that does not hold. */
  static async open(options: AuthorityOptions): Promise<Authority> {
    const files = new PairFiles(options.directory);
    const { trustDomain } = options;
    const own = await standing(options, files, { name: CA, title: `Drover authority of ${trustDomain}` });
    const migration = await standing(options, files, { name: MIGRATION_CA, title: `Drover migration authority of ${trustDomain}` });
    return new Authority(options, files, { own, migration });
  }

  get notAfter(): Date {
    return this.#signer.certificate.notAfter;
  }

  /** Whether this very authority signed a certificate that the TLS layer has found to be in order. */
  signed(der: Buffer): boolean {
    // Where the authority is the root itself, nobody else can have signed what verified against it.
    return this.#isRoot || new NodeCertificate(der).verify(this.#own.publicKey);
  }

  /** Both certificates of one incarnation of a node. */
  async issueNode({ uid, incarnation }: { uid: string; incarnation: number }, keys: NodeKeys, life: Lifetime): Promise<{ agent: Issued; migration: Issued }> {
    const [agent, migration] = await Promise.all([
      this.#issue({ identity: { kind: "node", uid, incarnation } }, keys.agent, life),
      this.#issue({ identity: { kind: "migration", uid, incarnation } }, keys.migration, life),
    ]);
    return { agent, migration };
  }

  issueUser({ name, groups, ttlMs, publicKey }: { name: string; groups: readonly string[]; ttlMs: number; publicKey: PublicKey }): Promise<Issued> {
    return this.#issue({ identity: { kind: "user", name }, groups }, publicKey, lifetime(this.#clock.now(), ttlMs));
  }

  /** A certificate for one of Drover's own programs, with a key of its own, in the directory. */
  async keep(name: string, subject: { identity: Identity; names?: readonly string[]; addresses?: readonly string[] }): Promise<Pair & { life: Lifetime }> {
    const keys = await newKeyPair();
    const { pem, life } = await this.#issue(subject, keys.publicKey, this.newLife());
    const pair = { certificate: pem, key: await privateKeyPem(keys) };
    this.files.write(name, pair);
    return { ...pair, life };
  }

  newLife(): Lifetime {
    return lifetime(this.#clock.now(), this.#certificateMs);
  }

  async #issue(subject: Omit<Subject, "trustDomain">, publicKey: PublicKey, life: Lifetime): Promise<Issued> {
    const whole = { ...subject, trustDomain: this.trustDomain };
    const isMigration = subject.identity.kind === "migration";
    const certificate = await issue(isMigration ? this.#migrationSigner : this.#signer, { publicKey, subject: whole, life, random: this.#random });
    const chain = isMigration || (this.#isRoot && subject.identity.kind !== "api-server") ? "" : this.caPem;
    return { pem: pemOf(certificate) + chain, life: { notBefore: certificate.notBefore, notAfter: certificate.notAfter } };
  }
}

type Standing = { chain: NodeCertificate[]; /** The chain as text. */ pem: string; signer: Signer };

/** From the directory, or made there. */
async function standing(options: AuthorityOptions, files: PairFiles, { name, title }: { name: string; title: string }): Promise<Standing> {
  const known = files.read(name);
  const pair = known ?? (await newAuthority(title, options));
  if (!known) files.write(name, pair);
  const chain = checkedChain(pair, files.paths(name).certificate);
  const privateKey = await importKey(createPrivateKey(pair.key));
  return { chain, pem: pair.certificate, signer: { certificate: new X509Certificate(chain[0]!.raw), privateKey } };
}

async function newAuthority(title: string, { clock, random }: AuthorityOptions): Promise<Pair> {
  const keys = await newKeyPair();
  const certificate = await selfSigned(keys, title, { now: clock.now(), random });
  return { certificate: pemOf(certificate), key: await privateKeyPem(keys) };
}

/** From the certificate of the key to a root, each signed by the next. */
function checkedChain({ certificate, key }: Pair, path: string): NodeCertificate[] {
  const chain = (certificate.match(PEM_BLOCK) ?? []).map((pem) => new NodeCertificate(pem));
  const [own] = chain;
  const no = (why: string): never => {
    throw new Error(`Cannot be an authority with ${path}: ${why}`);
  };
  if (!own) return no("there is no certificate in it");
  if (!own.checkPrivateKey(createPrivateKey(key))) no("its first certificate is of another key than the one beside it");
  for (const [index, each] of chain.entries()) {
    const issuer = chain[index + 1] ?? each;
    if (!each.ca) no(`"${each.subject}" is not the certificate of an authority`);
    if (!each.checkIssued(issuer) || !each.verify(issuer.publicKey)) no(`"${each.subject}" is not signed by ${issuer === each ? "itself, and its issuer is missing" : "the one behind it"}`);
  }
  return chain;
}

/** WebCrypto's form of a private key of any kind that authorities have. */
function importKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const der = key.export({ type: "pkcs8", format: "der" });
  return webcrypto.subtle.importKey("pkcs8", der, algorithmOf(key), false, ["sign"]);
}

function algorithmOf(key: KeyObject): webcrypto.EcKeyImportParams | webcrypto.RsaHashedImportParams | { name: string } {
  const { asymmetricKeyType: type } = key;
  if (type === "ec") return { ...P256, namedCurve: createPublicKey(key).export({ format: "jwk" }).crv ?? P256.namedCurve };
  if (type === "rsa") return { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  if (type === "ed25519") return { name: "Ed25519" };
  throw new Error(`Cannot sign with a key of type "${type}": an authority's is EC, RSA or Ed25519`);
}
