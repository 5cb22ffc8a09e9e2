/** What may be used at once, and how fast it comes back. */
import type { Clock } from "../../lib/clock.ts";

/** `debtMax`: how far `charge` may go below nothing; the burst if absent. */
export type Rate = { burst: number; perSecond: number; debtMax?: number };

export class Bucket {
  readonly #clock: Clock;
  readonly #rate: Rate;
  #left: number;
  #atMs: number;

  constructor(clock: Clock, rate: Rate) {
    this.#clock = clock;
    this.#rate = rate;
    this.#left = rate.burst;
    this.#atMs = clock.monotonicMs();
  }

  get isFull(): boolean {
    this.#refill();
    return this.#left >= this.#rate.burst;
  }

  /** Takes it if it is there. */
  take(amount = 1): boolean {
    this.#refill();
    if (this.#left < amount) return false;
    this.#left -= amount;
    return true;
  }

  /** For what has happened already: takes it in any case, and says whether it was there. */
  charge(amount = 1): boolean {
    this.#refill();
    this.#left = Math.max(this.#left - amount, -(this.#rate.debtMax ?? this.#rate.burst));
    return this.#left >= 0;
  }

  credit(amount: number): void {
    this.#left = Math.min(this.#left + amount, this.#rate.burst);
  }

  /** Until `take` of this much will succeed, if nobody else takes. */
  waitMs(amount = 1): number {
    this.#refill();
    return Math.max(0, Math.ceil(((amount - this.#left) * 1000) / this.#rate.perSecond));
  }

  #refill(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#left = Math.min(this.#rate.burst, this.#left + ((nowMs - this.#atMs) * this.#rate.perSecond) / 1000);
    this.#atMs = nowMs;
  }
}
