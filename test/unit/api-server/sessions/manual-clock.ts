/** Time that passes when a test says so. */
import type { Clock, Timer } from "../../../../lib/clock.ts";

type Pending = { atMs: number; run: () => void };

export class ManualClock implements Clock {
  #nowMs = 0;
  readonly #pending = new Set<Pending>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  now(): Date {
    return new Date(Date.UTC(2026, 0, 1) + this.#nowMs);
  }

  after(delayMs: number, run: () => void): Timer {
    const pending = { atMs: this.#nowMs + delayMs, run };
    this.#pending.add(pending);
    return { cancel: () => void this.#pending.delete(pending) };
  }

  /** Runs what falls due, in order, at its own time. */
  pass(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const next = [...this.#pending].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (!next) break;
      this.#nowMs = next.atMs;
      this.#pending.delete(next);
      next.run();
    }
    this.#nowMs = untilMs;
  }
}
