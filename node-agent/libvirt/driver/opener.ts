/**
 * Opens lanes and knows how long each attempt has been going on. An open to a frozen daemon never returns and cannot
 * be called back, so the agent watches this age and ends the whole process when it grows too old.
 */
import type { Clock } from "../../../lib/clock.ts";
import { Lane } from "./lane.ts";
import type { Library } from "./library.ts";

export class Opener {
  readonly library: Library;
  readonly #clock: Clock;
  readonly #startedMs = new Set<{ atMs: number }>();

  constructor(library: Library, clock: Clock) {
    this.library = library;
    this.#clock = clock;
  }

  async open(uri: string): Promise<Lane> {
    const attempt = { atMs: this.#clock.monotonicMs() };
    this.#startedMs.add(attempt);
    try {
      return await Lane.open(this.library, uri);
    } finally {
      this.#startedMs.delete(attempt);
    }
  }

  /** 0 when nothing is being opened. */
  get oldestAgeMs(): number {
    const [oldest] = this.#startedMs;
    return oldest === undefined ? 0 : this.#clock.monotonicMs() - oldest.atMs;
  }
}
