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
  /** Workers without a key, with the signal under which each waits. */
  readonly #idle = new Map<() => void, AbortSignal>();
  readonly #heeded = new WeakSet<AbortSignal>();
  #open = true;

  constructor({ clock, random }: { clock: Clock; random: Random }) {
    this.#clock = clock;
    this.#random = random;
  }

  get length(): number {
    return this.#waiting.size;
  }

  add(key: string): void {
    if (!this.#open) return;
    if (this.#processing.has(key)) this.#dirty.add(key);
    else this.#waiting.add(key);
    for (const wake of this.#idle.keys()) return wake();
  }

  /** Keeps the earlier of two times for the same key. */
  addAfter(key: string, delayMs: number): void {
    if (!this.#open) return;
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

  /** Forgets everything and takes nothing until it is opened: nobody works, so keys of what is long gone would pile up. */
  close(): void {
    this.#open = false;
    for (const { timer } of this.#timers.values()) timer.cancel();
    for (const kept of [this.#timers, this.#waiting, this.#dirty, this.#failures]) kept.clear();
  }

  open(): void {
    this.#open = true;
  }

  #retry(key: string): void {
    const attempt = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, attempt);
    this.addAfter(key, backoffMs(RETRY, attempt, this.#random.fraction()));
  }

  #arrival(signal: AbortSignal): Promise<void> {
    this.#heed(signal);
    return new Promise((resolve) => {
      const wake = () => {
        this.#idle.delete(wake);
        resolve();
      };
      this.#idle.set(wake, signal);
    });
  }

  /** One listener for each signal, as workers wait again after every key. */
  #heed(signal: AbortSignal): void {
    if (this.#heeded.has(signal)) return;
    this.#heeded.add(signal);
    const release = () => {
      for (const [wake, heeded] of this.#idle) if (heeded === signal) wake();
    };
    signal.addEventListener("abort", release, { once: true });
  }
}
