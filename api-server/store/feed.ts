/**
 * The newest changes in memory, in order, and who waits for more. Commits append here once; every watcher reads the same
 * objects, so that one write to 200 watchers costs 200 wake-ups and no copies. Older changes are read from the log.
 */
import type { Clock, Timer } from "../../lib/clock.ts";
import { type Change, StoreClosed } from "./store.ts";

export type Batch = { changes: Change[]; /** Every change up to this number that touches the prefix is in the batch. */ upTo: number; more: boolean };
type Waiter = { prefix: string; at: number; wake: (at: number) => void; fail: (error: Error) => void };
/** Without a pause, a bookmark follows every append. */
export type BookmarkPause = { clock: Clock; pauseMs: number };
export type FeedOptions = { head: number; compacted: number; ringChangesMax?: number; bookmarks?: BookmarkPause | undefined };

export const BATCH_CHANGES_MAX = 500;
const RING_CHANGES_MAX = 4_096;
const RING_BYTES_MAX = 64 * 1024 * 1024;

export class Feed {
  /** Number of the newest change that was appended. */
  head: number;
  /** Changes up to here may be gone. */
  compacted: number;
  readonly #ringChangesMax: number;
  readonly #bookmarks: BookmarkPause | undefined;
  /** One for each number, ending at the head. */
  #ring: Change[] = [];
  #ringBytes = 0;
  #waiters = new Set<Waiter>();
  #timer: Timer | undefined;
  #closed = false;

  constructor({ head, compacted, ringChangesMax = RING_CHANGES_MAX, bookmarks }: FeedOptions) {
    this.head = head;
    this.compacted = compacted;
    this.#ringChangesMax = ringChangesMax;
    this.#bookmarks = bookmarks;
  }

  append(changes: readonly Change[]): void {
    if (changes.length === 0) return;
    for (const change of changes) {
      this.#ring.push(change);
      this.#ringBytes += bytesOf(change);
    }
    this.head += changes.length;
    this.#trim();
    this.#wake(changes);
  }

  /** The next changes after `at`; undefined when the ring does not reach back so far. */
  after(prefix: string, at: number): Batch | undefined {
    const first = this.head - this.#ring.length + 1;
    if (at + 1 < first) return undefined;
    const changes: Change[] = [];
    let index = Math.min(at + 1 - first, this.#ring.length);
    for (; index < this.#ring.length && changes.length < BATCH_CHANGES_MAX; index++) {
      if (this.#ring[index]!.key.startsWith(prefix)) changes.push(this.#ring[index]!);
    }
    return { changes, upTo: Math.max(at, first + index - 1), more: index < this.#ring.length };
  }

  /**
   * Resolves when there is something to say beyond `at`: to the number up to which nothing touched the prefix. A waiter
   * moves on with the log, so that compaction never cuts one that missed nothing.
   */
  beyond({ prefix, at }: { prefix: string; at: number }, signal: AbortSignal): Promise<number> {
    if (this.#closed) return Promise.reject(new StoreClosed("The store is closed"));
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    if (this.head > at) return Promise.resolve(at);
    return new Promise((resolve, reject) => {
      const settled = () => {
        this.#waiters.delete(waiter);
        signal.removeEventListener("abort", abort);
      };
      const abort = () => waiter.fail(signal.reason as Error);
      const waiter: Waiter = {
        prefix,
        at,
        wake: (reached) => (settled(), resolve(reached)),
        fail: (error) => (settled(), reject(error)),
      };
      signal.addEventListener("abort", abort, { once: true });
      this.#waiters.add(waiter);
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    for (const waiter of this.#waiters) waiter.fail(new StoreClosed("The store is closed"));
  }

  #wake(changes: readonly Change[]): void {
    let quiet = 0;
    for (const waiter of this.#waiters) {
      if (waiter.at >= this.head) continue; // It read further in the log than was announced here.
      if (changes.some((change) => change.key.startsWith(waiter.prefix))) waiter.wake(waiter.at);
      else {
        waiter.at = this.head;
        quiet++;
      }
    }
    if (quiet > 0) this.#bookmarkSoon();
  }

  /** One timer tells all watchers of a stretch of foreign changes, however many those were. */
  #bookmarkSoon(): void {
    if (this.#bookmarks === undefined) return this.#wakeQuiet();
    const { clock, pauseMs } = this.#bookmarks;
    this.#timer ??= clock.after(pauseMs, () => this.#wakeQuiet());
  }

  #wakeQuiet(): void {
    this.#timer = undefined;
    for (const waiter of this.#waiters) waiter.wake(waiter.at);
  }

  /** Trimmed by halves, so that an append costs the same on average however long the ring is. */
  #trim(): void {
    if (this.#ring.length <= 2 * this.#ringChangesMax && this.#ringBytes <= RING_BYTES_MAX) return;
    const keep = Math.min(this.#ringChangesMax, this.#ring.length >> 1);
    const dropped = this.#ring.splice(0, this.#ring.length - keep);
    for (const change of dropped) this.#ringBytes -= bytesOf(change);
  }
}

function bytesOf(change: Change): number {
  return (change.type === "put" ? change.value.length : 0) + (change.previous?.length ?? 0);
}
