/** How often a transfer's figures are recorded: they come every second, and a record costs a commit. */
import type { Clock } from "../../lib/clock.ts";

const RECORD_EVERY_MS = 10_000;
const REMEMBERED_MAX = 1_000;

export class ProgressPace {
  readonly #clock: Clock;
  readonly #recorded = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True when figures of this migration shall be recorded now; remembers that they were. */
  due(migrationUid: string): boolean {
    const nowMs = this.#clock.monotonicMs();
    const last = this.#recorded.get(migrationUid);
    if (last !== undefined && nowMs - last < RECORD_EVERY_MS) return false;
    this.#recorded.delete(migrationUid);
    this.#recorded.set(migrationUid, nowMs);
    // The oldest is first in the map; forgetting one of a thousand open migrations costs at most one early record.
    if (this.#recorded.size > REMEMBERED_MAX) this.#recorded.delete(this.#recorded.keys().next().value!);
    return true;
  }
}
