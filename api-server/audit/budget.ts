/**
 * How many refusals are written one by one. Beyond that those of one source become one entry with their number, so that
 * nobody fills the disk by asking for what they may not have. Pure: time comes as an argument.
 */
import type { Act } from "../store/audit.ts";

const WINDOW_MS = 60_000;
const SINGLE_OF_ONE_MAX = 30;
const SINGLE_OF_ALL_MAX = 300;
/** Sources that are told apart; all others count as one. */
const SOURCES_MAX = 100;

type Window = { beganMs: number; single: number; folded: Act | undefined };

export class RefusalBudget {
  readonly #sources = new Map<string, Window>();
  #all = { beganMs: -Infinity, single: 0 };

  /** The entry to write now; undefined when it was added to one that is written when its time has come. */
  admit(act: Act, nowMs: number): Act | undefined {
    const window = this.#windowOf(act, nowMs);
    if (nowMs - this.#all.beganMs >= WINDOW_MS) this.#all = { beganMs: nowMs, single: 0 };
    if (window.single < SINGLE_OF_ONE_MAX && this.#all.single < SINGLE_OF_ALL_MAX) {
      window.single += 1;
      this.#all.single += 1;
      return act;
    }
    window.folded = window.folded ? { ...window.folded, count: window.folded.count + act.count } : act;
    return undefined;
  }

  /** The folded entries whose windows have ended, and when to ask again; undefined when nothing is under way. */
  due(nowMs: number): { acts: Act[]; nextMs: number | undefined } {
    const acts: Act[] = [];
    let nextMs: number | undefined;
    for (const [source, { beganMs, folded }] of this.#sources) {
      if (nowMs - beganMs < WINDOW_MS) nextMs = Math.min(nextMs ?? Infinity, beganMs + WINDOW_MS - nowMs);
      else {
        this.#sources.delete(source);
        if (folded) acts.push(folded);
      }
    }
    return { acts, nextMs };
  }

  #windowOf({ source }: Act, nowMs: number): Window {
    const address = source.replace(/:\d+$/, "");
    const name = this.#sources.has(address) || this.#sources.size < SOURCES_MAX ? address : "others";
    const window = this.#sources.get(name) ?? { beganMs: nowMs, single: 0, folded: undefined };
    this.#sources.set(name, window);
    return window;
  }
}
