/**
 * The whole store in this process, for unit tests and the simulation: deterministic, no timers, no threads. Nothing
 * outlives it; a writer elsewhere in the process sees the same order of commits as with any other adapter.
 */
import { type Act, type AuditQuery, type AuditRow, type AuditStretch, beginOf, lookThrough, type Mark, seal } from "./audit.ts";
import { checkWrite, decide, NO_SUCH_REVISION } from "./decide.ts";
import { BATCH_CHANGES_MAX, type Batch, type BookmarkPause, Feed } from "./feed.ts";
import { formatRevision, numberOf } from "./revision.ts";
import {
  type Bookmark,
  type Change,
  Conflict,
  FutureRevision,
  type JournalEntry,
  type Page,
  RequestReplayed,
  type Revision,
  type Store,
  StoreClosed,
  type Stored,
  type Write,
} from "./store.ts";
import { checkKept, watchLog } from "./watch.ts";

type Row = { number: number; previous: Row | undefined; change: Change };
export type MemoryOptions = { identity: Store["identity"]; ringChangesMax?: number; bookmarks?: BookmarkPause };

export class MemoryStore implements Store {
  readonly identity: Store["identity"];
  readonly #feed: Feed;
  /** Newest row of each key that ever was and is not forgotten; older ones hang on it. */
  #newest = new Map<string, Row>();
  #log: Row[] = [];
  #journal = new Map<string, JournalEntry>();
  #audit: AuditRow[] = [];
  #auditBegin: Mark;
  #auditHead: Mark;

  constructor({ identity, ringChangesMax, bookmarks }: MemoryOptions) {
    this.identity = identity;
    this.#auditBegin = this.#auditHead = beginOf(identity.storeId);
    this.#feed = new Feed({ head: 0, compacted: 0, bookmarks, ...(ringChangesMax !== undefined && { ringChangesMax }) });
  }

  async head(): Promise<Revision> {
    this.#checkOpen();
    return this.#revision(this.#feed.head);
  }

  async get(key: string): Promise<Stored | undefined> {
    this.#checkOpen();
    return storedOf(this.#newest.get(key));
  }

  async list(prefix: string, options: { limit?: number; after?: string; at?: Revision } = {}): Promise<Page> {
    this.#checkOpen();
    const { limit = Infinity, after = "", at } = options;
    const number = at === undefined ? this.#feed.head : this.#known(at);
    checkKept(number, this.#feed.compacted, this.identity.incarnation);
    const rows = [...this.#newest.values()].map((row) => rowAt(row, number));
    const items = rows.map(storedOf).filter((item) => item !== undefined && item.key.startsWith(prefix) && item.key > after);
    const sorted = (items as Stored[]).sort((a, b) => (a.key < b.key ? -1 : 1));
    const page = sorted.slice(0, limit);
    const revision = this.#revision(number);
    return page.length < sorted.length ? { items: page, revision, next: page.at(-1)?.key ?? after } : { items: page, revision };
  }

  async commit(write: Write): Promise<Stored> {
    this.#checkOpen();
    checkWrite(write);
    const { key, expected, journal } = write;
    const newest = this.#live(key);
    const done = journal && this.#journal.get(journal.requestId);
    const asked = expected === null ? null : (numberOf(expected, this.identity.incarnation) ?? NO_SUCH_REVISION);
    const verdict = decide(asked, { newest: newest?.number ?? null, done });
    if (verdict.verdict === "replayed") throw new RequestReplayed(verdict.entry);
    if (verdict.verdict === "conflict") {
      throw new Conflict(key, expected, verdict.actual === null ? null : this.#revision(verdict.actual));
    }
    return this.#append(write, newest);
  }

  async *watch(prefix: string, from: Revision, signal: AbortSignal): AsyncGenerator<Change | Bookmark> {
    this.#checkOpen();
    const readAfter = async (within: string, at: number) => this.#readAfter(within, at);
    const log = { feed: this.#feed, incarnation: this.identity.incarnation, readAfter };
    yield* watchLog(log, { prefix, from: this.#known(from) }, signal);
  }

  async request(requestId: string): Promise<JournalEntry | undefined> {
    this.#checkOpen();
    return this.#journal.get(requestId);
  }

  async journalOf(key: string, limit: number): Promise<JournalEntry[]> {
    this.#checkOpen();
    const entries = [...this.#journal.values()].filter((entry) => entry.key === key);
    return entries.reverse().slice(0, limit);
  }

  async compact(before: Revision): Promise<void> {
    this.#checkOpen();
    const mark = this.#known(before);
    if (mark <= this.#feed.compacted) return;
    this.#feed.compacted = mark;
    for (const row of this.#log) {
      if (row.number > mark) break;
      if (row.change.type === "delete" && this.#newest.get(row.change.key) === row) this.#newest.delete(row.change.key);
    }
    this.#log = this.#log.filter((row) => row.number > mark);
    // The newest at or below the mark stays as the last link of each key's chain.
    for (const newest of this.#newest.values()) {
      const kept = rowAt(newest, mark);
      if (kept !== undefined) kept.previous = undefined;
    }
  }

  async expireJournal(atMs: number): Promise<void> {
    this.#checkOpen();
    for (const [id, entry] of this.#journal) if (entry.atMs < atMs) this.#journal.delete(id);
  }

  async appendAudit(acts: readonly Act[]): Promise<void> {
    this.#checkOpen();
    for (const act of acts) this.#seal(act, "");
  }

  async audit(query: AuditQuery): Promise<AuditStretch> {
    this.#checkOpen();
    const rows = "after" in query
      ? this.#audit.filter(({ seq }) => seq > query.after)
      : this.#audit.filter(({ seq }) => seq < query.before).reverse();
    return { ...lookThrough(rows, query), begin: this.#auditBegin, head: this.#auditHead };
  }

  async expireAudit(upTo: Mark): Promise<void> {
    this.#checkOpen();
    if (!this.#audit.some(({ seq }) => seq === upTo.seq)) return;
    this.#audit = this.#audit.filter(({ seq }) => seq > upTo.seq);
    this.#auditBegin = upTo;
  }

  async close(): Promise<void> {
    this.#feed.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #seal(act: Act, after: Revision): void {
    const { seq, line, mark } = seal(this.#auditHead, act, after);
    this.#audit.push({ seq, line });
    this.#auditHead = mark;
  }

  #append({ key, value, journal, audit }: Write, newest: Row | undefined): Stored {
    const number = this.#feed.head + 1;
    const revision = this.#revision(number);
    const previous = newest && valueOf(newest);
    const change: Change =
      value === null
        ? { type: "delete", key, revision, previous: previous! }
        : { type: "put", key, value: new Uint8Array(value), revision, ...(previous && { previous }) };
    const row = { number, change, previous: this.#newest.get(key) };
    this.#newest.set(key, row);
    this.#log.push(row);
    if (journal) this.#journal.set(journal.requestId, { ...journal, after: revision });
    if (audit) this.#seal(audit, revision);
    this.#feed.append([change]);
    return { key, value: change.type === "put" ? change.value : change.previous, revision };
  }

  #readAfter(prefix: string, at: number): Batch & { compacted: number } {
    const { compacted, head } = this.#feed;
    // Above the mark every number has its row, so that the place of a number is known without a search.
    const start = at - compacted;
    const rows = this.#log.slice(start, start + BATCH_CHANGES_MAX);
    const changes = rows.map((row) => row.change).filter((change) => change.key.startsWith(prefix));
    const upTo = rows.at(-1)?.number ?? Math.max(at, head);
    return { changes, upTo, more: upTo < head, compacted };
  }

  #live(key: string): Row | undefined {
    const row = this.#newest.get(key);
    return row?.change.type === "put" ? row : undefined;
  }

  #known(revision: Revision): number {
    const number = numberOf(revision, this.identity.incarnation);
    if (number === undefined || number > this.#feed.head) throw new FutureRevision(revision, this.#revision(this.#feed.head));
    return number;
  }

  #revision(number: number): Revision {
    return formatRevision(this.identity.incarnation, number);
  }

  #checkOpen(): void {
    if (this.#feed.closed) throw new StoreClosed("The store is closed");
  }
}

function rowAt(newest: Row | undefined, number: number): Row | undefined {
  let row = newest;
  while (row !== undefined && row.number > number) row = row.previous;
  return row;
}

function valueOf({ change }: Row): Uint8Array | undefined {
  return change.type === "put" ? change.value : undefined;
}

function storedOf(row: Row | undefined): Stored | undefined {
  if (row?.change.type !== "put") return undefined;
  const { key, value, revision } = row.change;
  return { key, value, revision };
}
