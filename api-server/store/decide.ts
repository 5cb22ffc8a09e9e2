/** What becomes of one write, decided alone from what stands in the store: the rule that every adapter shares. */
import type { Write } from "./store.ts";

/** `Entry` is the journal's entry in whatever form the adapter keeps it. */
export type Standing<Entry> = {
  /** Number of the key's newest revision; null when it is absent. */
  newest: number | null;
  /** The entry of the write's request id, if that was carried out before. */
  done?: Entry | undefined;
};
export type Verdict<Entry> =
  | { verdict: "apply" }
  | { verdict: "conflict"; actual: number | null }
  | { verdict: "replayed"; entry: Entry };

/** Stands for an expected revision that is not of this store, so that it matches nothing. */
export const NO_SUCH_REVISION = -1;

/** A replay is found first: its first run has changed the revision that it still expects. */
export function decide<Entry>(expected: number | null, { newest, done }: Standing<Entry>): Verdict<Entry> {
  if (done !== undefined) return { verdict: "replayed", entry: done };
  if (expected !== newest) return { verdict: "conflict", actual: newest };
  return { verdict: "apply" };
}

const KEY = /^[\x21-\x7e]{1,1024}$/;

/** Mistakes of the caller's code, never of a user: they have no class of their own. */
export function checkWrite({ key, expected, value }: Write): void {
  if (!KEY.test(key)) throw new TypeError(`Cannot commit key ${JSON.stringify(key)}: it must be 1 to 1024 printable ASCII characters`);
  if (value === null && expected === null) throw new TypeError(`Cannot delete "${key}" without the revision that was read`);
}
