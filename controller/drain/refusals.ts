/**
 * What the API server said to migrations that it would not take, in this process' memory: a decision sees by it why nothing
 * came of the last one. Losing it means one attempt more.
 */
import type { Clock } from "../../lib/clock.ts";

const KEPT_MAX = 1_024;

export type Refusal = { message: string; /** In a row. */ times: number; sinceMs: number };

export class Refusals {
  readonly #clock: Clock;
  readonly #said = new Map<string, { message: string; times: number; atMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `key` is the migration's namespace and name. */
  note(key: string, message: string): void {
    const times = (this.#said.get(key)?.times ?? 0) + 1;
    this.#said.delete(key);
    this.#said.set(key, { message, times, atMs: this.#clock.monotonicMs() });
    for (const oldest of this.#said.keys()) {
      if (this.#said.size <= KEPT_MAX) return;
      this.#said.delete(oldest);
    }
  }

  of(key: string): Refusal | undefined {
    const said = this.#said.get(key);
    return said && { message: said.message, times: said.times, sinceMs: this.#clock.monotonicMs() - said.atMs };
  }
}
