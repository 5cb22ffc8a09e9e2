/**
 * Keys that wait for a loop. One key is never worked on twice at once; a key that comes while it is worked on runs again
 * after; failing keys come back later and later. Bounded by the number of objects, as it holds keys and not events.
 */
import { backoffMs, RETRY } from "../lib/backoff.ts";
import type { Clock, Timer } from "../lib/clock.ts";
import type { Random } from "../lib/random.ts";

export class WorkQueue {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #waiting = new Set<string>();
  readonly #dirty = new Set<string>();
  readonly #processing = new Set<string>();
  readonly #timers = new Map<string, { timer: Timer; atMs: number }>();
  readonly #failures = new Map<string, number>();
  #wake: (() => void)[] = [];

  constructor({ clock, random }: { clock: Clock; random: Random }) {
    this.#clock = clock;
    this.#random = random;
  }

  get length(): number {
    return this.#waiting.size;
  }

  add(key: string): void {
    if (this.#processing.has(key)) this.#dirty.add(key);
    else this.#waiting.add(key);
    this.#wake.shift()?.();
  }

  /** Keeps the earlier of two times for the same key. */
  addAfter(key: string, delayMs: number): void {
    const atMs = this.#clock.monotonicMs() + delayMs;
    const planned = this.#timers.get(key);
    if (planned && planned.atMs <= atMs) return;
    planned?.timer.cancel();
    const timer = this.#clock.after(delayMs, () => {
      this.#timers.delete(key);
      this.add(key);
    });
    this.#timers.set(key, { timer, atMs });
  }

  /** The next key; it stays the caller's until `done`. Undefined when the signal aborts. */
  async take(signal: AbortSignal): Promise<string | undefined> {
    while (!signal.aborted) {
      for (const key of this.#waiting) {
        this.#waiting.delete(key);
        this.#processing.add(key);
        return key;
      }
      await this.#arrival(signal);
    }
    return undefined;
  }

  done(key: string, { failed }: { failed: boolean }): void {
    this.#processing.delete(key);
    if (failed) this.#retry(key);
    else this.#failures.delete(key);
    if (this.#dirty.delete(key)) this.add(key);
  }

  close(): void {
    for (const { timer } of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  #retry(key: string): void {
    const attempt = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, attempt);
    this.addAfter(key, backoffMs(RETRY, attempt, this.#random.fraction()));
  }

  #arrival(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        signal.removeEventListener("abort", wake);
        resolve();
      };
      signal.addEventListener("abort", wake, { once: true });
      this.#wake.push(wake);
    });
  }
}
