/**
 * What is live, on the caller's side of the reading thread: every live key with the number of its newest commit, and as
 * many of the values as fit. Only sound where this process is the only writer, and for commits that are durable; see
 * docs/decisions/0006.
 */
import type { WireRow } from "./sqlite-protocol.ts";

export type Live = { revision: number; value: Uint8Array };
type Entry = { revision: number; value: Uint8Array | undefined };
export type LivePage = { items: WireRow[]; more: boolean };

const VALUES_BYTES_MAX = 64 * 1024 * 1024;

export class LiveValues {
  readonly #valuesBytesMax: number;
  readonly #entries = new Map<string, Entry>();
  /** The keys by their first segment, each sorted: what a list walks along. */
  readonly #sorted = new Map<string, string[]>();
  /** The entries that have their value, the one used least recently first. */
  readonly #held = new Map<string, number>();
  #heldBytes = 0;

  constructor(valuesBytesMax = VALUES_BYTES_MAX) {
    this.#valuesBytesMax = valuesBytesMax;
  }

  /** Absent keys are known as such: undefined only says that the value is not at hand. */
  get(key: string): Live | null | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return null;
    const { revision, value } = entry;
    if (value === undefined) return undefined;
    this.#use(key, value);
    return { revision, value };
  }

  /** Keys after `after`, in order; undefined when a value is not at hand, or the prefix is less than a first segment. */
  list(prefix: string, { after, limit }: { after: string; limit: number }): LivePage | undefined {
    const segment = segmentOf(prefix);
    if (segment === undefined) return undefined;
    const keys = this.#sorted.get(segment) ?? [];
    const items: LivePage["items"] = [];
    for (let index = after >= prefix ? placeAfter(keys, after) : placeOf(keys, prefix); index < keys.length; index++) {
      const key = keys[index]!;
      if (!key.startsWith(prefix)) break;
      if (items.length >= limit) return { items, more: true };
      const { revision, value } = this.#entries.get(key)!;
      if (value === undefined) return undefined;
      items.push({ key, revision, value });
    }
    return { items, more: false };
  }

  /** A commit; a null value deletes. */
  put(key: string, revision: number, value: Uint8Array | null): void {
    this.#drop(key);
    if (value === null) {
      if (this.#entries.delete(key)) this.#unlist(key);
      return;
    }
    if (!this.#entries.has(key)) this.#enlist(key);
    this.#entries.set(key, { revision, value: undefined });
    this.fill(key, revision, value);
  }

  /** A key as it stands at the opening, its value still to be read. */
  present(key: string, revision: number): void {
    if (!this.#entries.has(key)) this.#enlist(key);
    this.#entries.set(key, { revision, value: undefined });
  }

  /** Another value of ordinary size would push none out. */
  get hasRoom(): boolean {
    return this.#heldBytes < this.#valuesBytesMax;
  }

  /** What a reader found; nothing to keep if a commit has overtaken it. */
  fill(key: string, revision: number, value: Uint8Array): void {
    const entry = this.#entries.get(key);
    if (entry?.revision !== revision || entry.value !== undefined) return;
    entry.value = value;
    this.#held.set(key, value.length);
    this.#heldBytes += value.length;
    for (const oldest of this.#held.keys()) {
      if (this.#heldBytes <= this.#valuesBytesMax) break;
      this.#drop(oldest);
    }
  }

  #use(key: string, value: Uint8Array): void {
    this.#held.delete(key);
    this.#held.set(key, value.length);
  }

  #drop(key: string): void {
    const bytes = this.#held.get(key);
    if (bytes === undefined) return;
    this.#held.delete(key);
    this.#heldBytes -= bytes;
    this.#entries.get(key)!.value = undefined;
  }

  #enlist(key: string): void {
    const segment = segmentOf(key);
    if (segment === undefined) return;
    const keys = this.#sorted.get(segment);
    if (keys === undefined) this.#sorted.set(segment, [key]);
    else keys.splice(placeOf(keys, key), 0, key);
  }

  #unlist(key: string): void {
    const keys = this.#sorted.get(segmentOf(key) ?? "");
    if (keys !== undefined) keys.splice(placeOf(keys, key), 1);
  }
}

/** "virtualmachines/" of "virtualmachines/default/a"; a key without a slash is in no list. */
function segmentOf(key: string): string | undefined {
  const slash = key.indexOf("/");
  return slash === -1 ? undefined : key.slice(0, slash + 1);
}

/** Place of the first that is not before `key`. */
function placeOf(keys: readonly string[], key: string): number {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function placeAfter(keys: readonly string[], key: string): number {
  const place = placeOf(keys, key);
  return keys[place] === key ? place + 1 : place;
}
