/**
 * Reads of the embedded store, in numbers: from memory where that is sound, else from the reading thread. Why, and why it
 * stays linearizable, is in docs/decisions/0006.
 */
import type { Feed } from "./feed.ts";
import { LiveValues } from "./sqlite-live.ts";
import type { ListQuery, ReaderCalls, WireBatch, WireEntry, WirePage, WireRow } from "./sqlite-protocol.ts";
import { Turns } from "./sqlite-turns.ts";

/** Asks the reading thread; throws when the store is closed or the file is damaged. */
export type AskReader = <K extends keyof ReaderCalls>(name: K, input: ReaderCalls[K]["input"]) => Promise<ReaderCalls[K]["output"]>;
export type SqliteReadsOptions = { ask: AskReader; live: LiveValues; feed: Feed };

/** A page from memory with more than this waits for its turn, as whoever asked will go through it. */
const SMALL_PAGE_ITEMS = 50;

export class SqliteReads {
  readonly #ask: AskReader;
  readonly #live: LiveValues;
  readonly #feed: Feed;
  readonly #turns = new Turns();
  /** The newest number that the reading thread has shown to anybody. */
  #shown = 0;

  constructor({ ask, live, feed }: SqliteReadsOptions) {
    this.#ask = ask;
    this.#live = live;
    this.#feed = feed;
  }

  async head(): Promise<number> {
    return this.#show(await this.#ask("head", null));
  }

  async get(key: string): Promise<WireRow | undefined> {
    const live = this.#isAnnounced() ? this.#live.get(key) : undefined;
    if (live !== undefined) return live ? { key, ...live } : undefined;
    const { row, head } = await this.#ask("get", key);
    this.#show(head);
    if (row === null) return undefined;
    this.#live.fill(key, row.revision, row.value);
    return row;
  }

  async page(query: ListQuery): Promise<WirePage> {
    const live = this.#livePage(query);
    if (live && live.items.length <= SMALL_PAGE_ITEMS) return live;
    return this.#turns.take(() => live ?? this.#livePage(query) ?? this.#readPage(query));
  }

  async changes(prefix: string, at: number): Promise<WireBatch> {
    const batch = await this.#ask("changes", { prefix, at });
    this.#show(batch.upTo);
    return batch;
  }

  async request(requestId: string): Promise<WireEntry | undefined> {
    const entry = await this.#ask("request", requestId);
    if (entry) this.#show(entry.after);
    return entry ?? undefined;
  }

  async journalOf(key: string, limit: number): Promise<WireEntry[]> {
    const entries = await this.#ask("journalOf", { key, limit });
    for (const { after } of entries) this.#show(after);
    return entries;
  }

  #livePage({ prefix, after, limit, at }: ListQuery): WirePage | undefined {
    const { head, compacted } = this.#feed;
    if (!this.#isAnnounced() || (at ?? head) !== head) return undefined;
    const page = this.#live.list(prefix, { after, limit });
    return page && { ...page, at: head, head, compacted };
  }

  async #readPage(query: ListQuery): Promise<WirePage> {
    const page = await this.#ask("list", query);
    this.#show(page.head);
    for (const { key, revision, value } of page.items) if (this.#live.hasRoom) this.#live.fill(key, revision, value);
    return page;
  }

  #show(number: number): number {
    this.#shown = Math.max(this.#shown, number);
    return number;
  }

  /** The thread sees a commit before that is announced here; until then memory must not answer with what came before it. */
  #isAnnounced(): boolean {
    return this.#feed.head >= this.#shown;
  }
}

/** Everything that is live, before the first write. */
export async function loadKeys(ask: AskReader): Promise<LiveValues> {
  const live = new LiveValues();
  for (let after = ""; ; ) {
    const keys = await ask("keys", after);
    for (const { key, revision } of keys) live.present(key, revision);
    if (keys.length === 0) return live;
    after = keys.at(-1)!.key;
  }
}
