/**
 * Secrets as they lie on the disk: AES-256-GCM under one of several keys, bound to the object, its uid and the place in it,
 * so that none can be put into another's place. The newest key closes, every key opens: a key is added, never exchanged.
 */
import { createCipheriv, createDecipheriv, createHash } from "node:crypto";
import type { Random } from "../../lib/random.ts";
import type { Secret } from "../../lib/secret.ts";
import { DataLoss } from "../store/store.ts";

/** The newest is the last. */
export type SecretKey = { id: string; key: Secret<Buffer> };

const CIPHER = "aes-256-gcm";
const SEALED = /^drover-sealed:1:([a-z0-9-]{1,32}):([A-Za-z0-9_-]+)$/;
const [NONCE_BYTES, TAG_BYTES] = [12, 16];
/** 320 bits, of which the nonce is a hash. */
const NONCE_LETTERS = 64;

export const isSealed = (text: string): boolean => SEALED.test(text);

export class Vault {
  readonly #keys: ReadonlyMap<string, SecretKey>;
  readonly #newest: SecretKey;
  readonly #random: Random;

  constructor(keys: readonly SecretKey[], random: Random) {
    const newest = keys.at(-1);
    if (newest === undefined) throw new Error("There is no key for secrets");
    this.#keys = new Map(keys.map((key) => [key.id, key]));
    this.#newest = newest;
    this.#random = random;
  }

  /** `place` has to be the same to open it again. */
  seal(text: string, place: string, { id, key } = this.#newest): string {
    const nonce = createHash("sha256").update(this.#random.token(NONCE_LETTERS)).digest().subarray(0, NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, key.reveal(), nonce).setAAD(Buffer.from(place));
    const closed = Buffer.concat([nonce, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
    return `drover-sealed:1:${id}:${closed.toString("base64url")}`;
  }

  /** What an older version left open is given as it is. Throws DataLoss. */
  open(text: string, place: string): string {
    const [, id = "", closed = ""] = SEALED.exec(text) ?? [];
    if (id === "") return text;
    const key = this.#keys.get(id);
    if (!key) throw new DataLoss(`Cannot read a secret of ${place.split("\0", 1)[0]}: the key "${id}" is missing`);
    const bytes = Buffer.from(closed, "base64url");
    const tagAt = bytes.length - TAG_BYTES;
    try {
      const decipher = createDecipheriv(CIPHER, key.key.reveal(), bytes.subarray(0, NONCE_BYTES)).setAAD(Buffer.from(place));
      decipher.setAuthTag(bytes.subarray(tagAt));
      return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, tagAt)), decipher.final()]).toString("utf8");
    } catch (cause) {
      throw new DataLoss(`Cannot read a secret of ${place.split("\0", 1)[0]}: it was changed, or is of another place`, { cause });
    }
  }
}
