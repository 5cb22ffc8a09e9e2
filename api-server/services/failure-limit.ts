/** How often one address may fail: a bucket for each, bounded in number, refilled with time. Who never fails is never held up. */
import type { Clock } from "../../lib/clock.ts";
import { ResourceExhausted } from "../../lib/errors.ts";

const BURST = 5;
const REFILL_MS = 1_000;
/** Beyond this many addresses the one that failed longest ago is forgotten. */
const ADDRESSES_MAX = 4_096;

type Bucket = { left: number; atMs: number };

export class FailureLimit {
  readonly #clock: Clock;
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Refuses an address that has failed too often. Each attempt counts as failed until it is known to be none, so that a crowd counts, too. */
  async guard<T>(address: string, run: () => Promise<T>, isFailure: (error: unknown) => boolean): Promise<T> {
    if (this.#left(address) < 1) throw new ResourceExhausted("Too many attempts have failed", { reason: "TOO_MANY_FAILURES" }, REFILL_MS);
    this.#add(address, -1);
    try {
      const answer = await run();
      this.#add(address, 1);
      return answer;
    } catch (error) {
      if (!isFailure(error)) this.#add(address, 1);
      throw error;
    }
  }

  #left(address: string): number {
    const bucket = this.#buckets.get(address);
    return bucket ? Math.min(BURST, bucket.left + (this.#clock.monotonicMs() - bucket.atMs) / REFILL_MS) : BURST;
  }

  #add(address: string, by: number): void {
    const left = this.#left(address) + by;
    this.#buckets.delete(address);
    this.#buckets.set(address, { left, atMs: this.#clock.monotonicMs() });
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > ADDRESSES_MAX && oldest !== undefined) this.#buckets.delete(oldest);
  }
}
