/**
 * What this host has been given to be a node: the agent's certificate, QEMU's, their keys and the authority, below the
 * state directory. All of it changes in one moment: the files lie behind a link, and the link is replaced.
 */
import { createHash, X509Certificate } from "node:crypto";
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { TlsFiles } from "../../lib/client.ts";
import type { Lifetime } from "../../lib/pki/lifetime.ts";
import { ownIdentityIn } from "../door/peer.ts";
import type { NodeIdentity } from "../door/peer.ts";
import { writeKept } from "../kept-file.ts";

export type PairPem = { cert: string; key: string };
export type IdentityPem = { ca: string; /** QEMU's own. */ migrationCa: string; node: PairPem; migration: PairPem };

/** `version` differs whenever anything in it does. */
export type KeptIdentity = { pem: IdentityPem; version: string; identity: NodeIdentity; life: Lifetime };

export class NoIdentity extends Error {
  override name = "NoIdentity";
}

const CURRENT = "pki";
const VERSION = /^pki-[0-9a-f]{16}$/;

/** Paths that stay, whatever is renewed. */
export function identityFiles(stateDirectory: string): { node: TlsFiles; migration: TlsFiles } {
  const at = (name: string) => join(stateDirectory, CURRENT, name);
  const ca = at("ca.pem");
  return { node: { ca, cert: at("node.pem"), key: at("node.key") }, migration: { ca: at("migration-ca.pem"), cert: at("migration.pem"), key: at("migration.key") } };
}

/** Durable when it returns, and to be killed in at any moment. What was there before is gone. */
export function keepIdentity(stateDirectory: string, pem: IdentityPem): void {
  const version = `${CURRENT}-${digestOf(pem)}`;
  const directory = join(stateDirectory, version);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (const [name, text] of Object.entries(contentOf(pem))) writeKept(join(directory, name), text);
  const unfinished = join(stateDirectory, `${CURRENT}.new`);
  rmSync(unfinished, { force: true });
  symlinkSync(version, unfinished);
  renameSync(unfinished, join(stateDirectory, CURRENT));
  sync(stateDirectory);
  for (const name of readdirSync(stateDirectory)) {
    if (VERSION.test(name) && name !== version) rmSync(join(stateDirectory, name), { recursive: true });
  }
}

/** Throws NoIdentity where there is none, or none that is whole. */
export function readIdentity(stateDirectory: string): KeptIdentity {
  let fault: unknown;
  // The version that was current may be removed while it is read; the next one is there by then.
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      return read(join(stateDirectory, CURRENT));
    } catch (error) {
      fault = error;
    }
  }
  throw new NoIdentity(`This host has no identity in ${join(stateDirectory, CURRENT)}`, { cause: fault });
}

function read(current: string): KeptIdentity {
  const directory = realpathSync(current);
  const text = (name: string) => readFileSync(join(directory, name), "utf8");
  const pair = (name: string) => ({ cert: text(`${name}.pem`), key: text(`${name}.key`) });
  const pem = { ca: text("ca.pem"), migrationCa: text("migration-ca.pem"), node: pair("node"), migration: pair("migration") };
  const identity = ownIdentityIn(pem.node.cert);
  if (!identity) throw new NoIdentity("The certificate is of no node");
  const { validFromDate, validToDate } = new X509Certificate(pem.node.cert);
  return { pem, version: digestOf(pem), identity, life: { notBefore: validFromDate, notAfter: validToDate } };
}

function contentOf({ ca, migrationCa, node, migration }: IdentityPem): Record<string, string> {
  return { "ca.pem": ca, "migration-ca.pem": migrationCa, "node.pem": node.cert, "node.key": node.key, "migration.pem": migration.cert, "migration.key": migration.key };
}

const digestOf = (pem: IdentityPem): string => createHash("sha256").update(JSON.stringify(contentOf(pem))).digest("hex").slice(0, 16);

function sync(directory: string): void {
  const handle = openSync(directory, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
