/**
 * The keys of secrets: a file of lines "<id> <base64 of 32 bytes>", the newest last, made at the first start. A new key is
 * put in by adding a line and starting the server anew; an old one may go when nothing is closed by it any more. The store
 * notes which keys it was written with, so that a server without them does not start and take secrets for lost.
 */
import { createHash } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { Random } from "../../lib/random.ts";
import { Secret } from "../../lib/secret.ts";
import { Conflict, type Store } from "../store/store.ts";
import { type SecretKey, Vault } from "./vault.ts";

const LINE = /^([a-z0-9-]{1,32}) ([A-Za-z0-9+/]{43}=)$/;
const OTHERS = 0o077;
const KEY_BYTES = 32;
/** 320 bits, of which a key is a hash. */
const KEY_LETTERS = 64;
const NOTES = "secretkeys/";
/** What is closed under each key to tell that key from another of its name. */
const PROBE = "drover";

export type VaultOptions = { store: Pick<Store, "list" | "commit">; path: string; random: Random };

/** Throws what the administrator has to put right. */
export async function openVault({ store, path, random }: VaultOptions): Promise<Vault> {
  const { items: notes } = await store.list(NOTES);
  if (!existsSync(path)) {
    if (notes.length > 0) throw new Error(`The keys of the store's secrets are not in ${path}: put the file back, or say where it is (secrets.keyFile)`);
    writeKey(path, random);
  }
  const keys = readKeys(path);
  const vault = new Vault(keys, random);
  for (const { key, value } of notes) checkNote(vault, { path, place: key, sealed: Buffer.from(value).toString() });
  const known = new Set(notes.map(({ key }) => key));
  for (const key of keys.filter(({ id }) => !known.has(NOTES + id))) await note(store, vault, key);
  return vault;
}

async function note(store: VaultOptions["store"], vault: Vault, key: SecretKey): Promise<void> {
  const place = NOTES + key.id;
  try {
    await store.commit({ key: place, expected: null, value: Buffer.from(vault.seal(PROBE, place, key)) });
  } catch (error) {
    if (!(error instanceof Conflict)) throw error;
  }
}

function checkNote(vault: Vault, { path, place, sealed }: { path: string; place: string; sealed: string }): void {
  try {
    vault.open(sealed, place);
  } catch (cause) {
    throw new Error(`The key "${place.slice(NOTES.length)}", which the store was written with, is not in ${path}: put it back`, { cause });
  }
}

function readKeys(path: string): SecretKey[] {
  const mode = statSync(path).mode & 0o777;
  if ((mode & OTHERS) !== 0) throw new Error(`${path} can be used by others (mode ${mode.toString(8)}): take their rights away with "chmod go= ${path}"`);
  const lines = readFileSync(path, "utf8").split("\n").filter((line) => line.trim() !== "");
  const keys = lines.map((line, index): SecretKey => {
    const [, id, text = ""] = LINE.exec(line.trim()) ?? [];
    const key = Buffer.from(text, "base64");
    if (id === undefined || key.length !== KEY_BYTES) throw new Error(`${path}, line ${index + 1}: must be "<id> <base64 of ${KEY_BYTES} bytes>"`);
    return { id, key: new Secret(key) };
  });
  if (keys.length === 0) throw new Error(`There is no key in ${path}`);
  if (new Set(keys.map(({ id }) => id)).size < keys.length) throw new Error(`Two keys in ${path} have one id`);
  return keys;
}

function writeKey(path: string, random: Random): void {
  const key = createHash("sha256").update(random.token(KEY_LETTERS)).digest("base64");
  const file = openSync(`${path}.new`, "w", 0o600);
  try {
    writeSync(file, `k1 ${key}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.new`, path);
  const directory = openSync(dirname(path), "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
