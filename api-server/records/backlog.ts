/**
 * How far watches are behind. Nothing is kept for a watch that nobody reads, so nothing else would tell: one cursor over
 * each watched stretch of keys counts what the log gains, and each watch what it has taken of that.
 */
import type { Change, Revision, Store } from "../store/store.ts";
import { formatRevision, numberOf } from "../store/revision.ts";

/** One watch's part: how much more the log has gained than the watch has taken. */
export class Backlog {
  readonly #limit: Limit;
  /** Up to where the log's gains have been counted, and up to where they have been taken. */
  #counted: number;
  #taken = 0;
  #owedBytes = 0;

  constructor(counted: number, limit: Limit) {
    this.#counted = counted;
    this.#limit = limit;
  }

  /** A watch that has come further than the count owes nothing for it. */
  gained(number: number, bytes: number): void {
    this.#counted = number;
    if (number <= this.#taken) return;
    this.#owedBytes += bytes;
    if (this.#owedBytes > this.#limit.bytesMax) this.#limit.exceeded();
  }

  /**
   * What was there before the watch began is taken off as well, down to nothing: a watch that begins far behind is not cut
   * while it catches up.
   */
  took(number: number, bytes: number): void {
    this.#taken = number;
    if (number <= this.#counted) this.#owedBytes = Math.max(0, this.#owedBytes - bytes);
  }
}

/** `exceeded` is called at each gain beyond the limit. */
export type Limit = { bytesMax: number; exceeded: () => void };
type Meter = { counted: number; watches: Set<Backlog>; stop: AbortController };
export type Followed = { took(change: Change): void } & Disposable;

export class Backlogs {
  readonly #store: Store;
  readonly #meters = new Map<string, Meter>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Counts for a watch of these keys until it is disposed of. */
  async follow(prefix: string, limit: Limit): Promise<Followed> {
    const head = this.#numberOf(await this.#store.head());
    const meter = this.#meters.get(prefix) ?? this.#start(prefix, head);
    const backlog = new Backlog(meter.counted, limit);
    meter.watches.add(backlog);
    return {
      took: (change) => backlog.took(this.#numberOf(change.revision), bytesOf(change)),
      [Symbol.dispose]: () => this.#leave(prefix, meter, backlog),
    };
  }

  #start(prefix: string, head: number): Meter {
    const meter = { counted: head, watches: new Set<Backlog>(), stop: new AbortController() };
    this.#meters.set(prefix, meter);
    void this.#count(prefix, meter).catch(() => this.#forget(prefix, meter));
    return meter;
  }

  /** Whatever ends this cursor ends those of the watches, which say so. */
  async #count(prefix: string, meter: Meter): Promise<void> {
    const from = formatRevision(this.#store.identity.incarnation, meter.counted);
    for await (const message of this.#store.watch(prefix, from, meter.stop.signal)) {
      meter.counted = this.#numberOf(message.revision);
      if (message.type === "bookmark") continue;
      for (const watch of meter.watches) watch.gained(meter.counted, bytesOf(message));
    }
  }

  #leave(prefix: string, meter: Meter, backlog: Backlog): void {
    meter.watches.delete(backlog);
    if (meter.watches.size > 0) return;
    this.#forget(prefix, meter);
    meter.stop.abort();
  }

  #forget(prefix: string, meter: Meter): void {
    if (this.#meters.get(prefix) === meter) this.#meters.delete(prefix);
  }

  #numberOf(revision: Revision): number {
    return numberOf(revision, this.#store.identity.incarnation) ?? 0;
  }
}

const bytesOf = (change: Change): number => (change.type === "put" ? change.value.length : change.previous.length);
