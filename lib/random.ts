/** The port of chance: identifiers, jitter, generated names. Only this file reaches for the system's. */
import { randomBytes, randomUUID } from "node:crypto";

export interface Random {
  /** A version 4 UUID. */
  uuid(): string;
  /** Uniform in [0, 1). Jitter and load spreading, never a secret. */
  fraction(): number;
  /** `length` characters of lower-case letters and digits, unguessable. */
  token(length: number): string;
}

const ALPHABET = "0123456789abcdefghijklmnopqrstuv"; // 32 characters: five bits of each byte, so no bias.

export const systemRandom: Random = {
  uuid: () => randomUUID(),
  fraction: () => randomBytes(4).readUInt32BE() / 2 ** 32,
  token: (length) => Array.from(randomBytes(length), (byte) => ALPHABET[byte & 31]!).join(""),
};
