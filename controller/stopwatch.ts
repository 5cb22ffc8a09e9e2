/**
 * Since when this process has seen something. Records hold no deadlines: each controller measures from its own first
 * sight, so a restart only waits longer and no clock of another machine decides anything.
 */
import type { Clock } from "../lib/clock.ts";

const KEPT_MAX = 20_000;

export class Stopwatch {
  readonly #clock: Clock;
  readonly #firstSight = new Map<string, { monotonicMs: number; wall: Date }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds since `subject` was first asked about. */
  elapsedMs(subject: string): number {
    return this.#clock.monotonicMs() - this.#sight(subject).monotonicMs;
  }

  /** Wall time of the first sight, for people; undefined when nobody asked before. */
  firstSeen(subject: string): Date | undefined {
    return this.#firstSight.get(subject)?.wall;
  }

  #sight(subject: string): { monotonicMs: number; wall: Date } {
    const known = this.#firstSight.get(subject);
    if (known) return known;
    const sight = { monotonicMs: this.#clock.monotonicMs(), wall: this.#clock.now() };
    this.#firstSight.set(subject, sight);
    if (this.#firstSight.size > KEPT_MAX) this.#dropOldest();
    return sight;
  }

  /** Losing a sight only makes a wait begin anew. */
  #dropOldest(): void {
    for (const subject of this.#firstSight.keys()) {
      this.#firstSight.delete(subject);
      return;
    }
  }
}
