/**
 * The embedded store: one file, one thread that writes, one that reads, one that checks. This side keeps the newest
 * changes for watches and the live values for reads, turns numbers into revisions, and decides what a failure means for
 * the store as a whole.
 */
import type { Clock } from "../../lib/clock.ts";
import type { Act, AuditQuery, AuditStretch, Mark } from "./audit.ts";
import { checkWrite, NO_SUCH_REVISION } from "./decide.ts";
import { type Batch, Feed } from "./feed.ts";
import type { LiveValues } from "./sqlite-live.ts";
import { formatRevision, numberOf } from "./revision.ts";
import type {
  CheckCalls,
  Opened,
  Outcome,
  ReaderCalls,
  SqliteFaults,
  SqliteFile,
  SqliteLimits,
  WireChange,
  WireEntry,
  WirePage,
  WireRow,
  WireWrite,
  WriterCalls,
} from "./sqlite-protocol.ts";
import { WriteQueue } from "./sqlite-queue.ts";
import { loadKeys, SqliteReads } from "./sqlite-reads.ts";
import { DiskFailure, Thread } from "./sqlite-thread.ts";
import {
  type Bookmark,
  type Change,
  Compacted,
  Conflict,
  DataLoss,
  FutureRevision,
  type JournalEntry,
  type Page,
  RequestReplayed,
  type Revision,
  type Store,
  StoreClosed,
  StoreFull,
  type Stored,
  type Write,
} from "./store.ts";
import { checkKept, watchLog } from "./watch.ts";

export type SqliteOptions = SqliteFile & {
  clock: Clock;
  /** The state on the disk is unknown, as after a failed fsync: the process is to end and to open the file anew. */
  onFatal: (error: Error) => void;
  /** The check that goes on behind found damage; the store only reads from now on. */
  onDataLoss?: (error: DataLoss) => void;
  ringChangesMax?: number;
  faults?: SqliteFaults;
  limits?: SqliteLimits;
};
type Threads = { writer: Thread<WriterCalls>; reader: Thread<ReaderCalls>; checker: Thread<CheckCalls> };

/** Whoever shows them to people does so far more rarely, and each wakes every quiet watch. */
const BOOKMARK_PAUSE_MS = 1_000;
const PAGE_ITEMS_MAX = 500;
/** A list without a revision begins anew when compaction overtakes it between two pages. */
const LIST_ATTEMPTS_MAX = 5;

export class SqliteStore implements Store {
  readonly identity: Store["identity"];
  readonly #threads: Threads;
  readonly #feed: Feed;
  readonly #queue: WriteQueue;
  readonly #live: LiveValues;
  readonly #reads: SqliteReads;
  readonly #options: SqliteOptions;
  /** Why nothing is written any more. */
  #fault: DataLoss | undefined;
  #closing: Promise<void> | undefined;
  /** Resolves when the check of the whole file has ended, whatever it found. */
  readonly checked: Promise<void>;

  static async open(options: SqliteOptions): Promise<SqliteStore> {
    const { path, identity, create, faults = {}, limits = {} } = options;
    let store: SqliteStore | undefined;
    const failed = (error: Error) => {
      if (store) store.#fatal(error);
    };
    const entry = (name: string) => new URL(`./sqlite-${name}.ts`, import.meta.url);
    const writer = new Thread<WriterCalls>(entry("writer"), { path, identity, create, faults, limits }, failed);
    const threads: { stop(): Promise<void> }[] = [writer];
    try {
      const opened = await writer.call("open", null);
      const reader = new Thread<ReaderCalls>(entry("reader"), { path: opened.path }, failed);
      const checker = new Thread<CheckCalls>(entry("checker"), { path: opened.path }, failed);
      threads.push(reader, checker);
      const live = await loadKeys((name, input) => reader.call(name, input));
      store = new SqliteStore({ writer, reader, checker }, { opened, live }, options);
      return store;
    } catch (error) {
      await Promise.all(threads.map((thread) => thread.stop()));
      throw error;
    }
  }

  private constructor(threads: Threads, { opened, live }: { opened: Opened; live: LiveValues }, options: SqliteOptions) {
    const { identity, head, compacted } = opened;
    const { clock, ringChangesMax } = options;
    const bookmarks = { clock, pauseMs: BOOKMARK_PAUSE_MS };
    this.identity = identity;
    this.#threads = threads;
    this.#live = live;
    this.#options = options;
    this.#feed = new Feed({ head, compacted, bookmarks, ...(ringChangesMax !== undefined && { ringChangesMax }) });
    this.#reads = new SqliteReads({ ask: (name, input) => this.#read(name, input), live, feed: this.#feed });
    this.#queue = new WriteQueue({
      commit: (writes) => this.#write(() => threads.writer.call("commit", writes)),
      announce: (writes, outcomes) => this.#announce(writes, outcomes),
    });
    this.checked = this.#checkAll().catch((error: unknown) => this.#checkFailed(error));
  }

  async head(): Promise<Revision> {
    this.#checkOpen();
    return this.#revision(this.#feed.head);
  }

  async get(key: string): Promise<Stored | undefined> {
    this.#checkOpen();
    const row = await this.#reads.get(key);
    return row && this.#stored(row);
  }

  async list(prefix: string, options: { limit?: number; after?: string; at?: Revision } = {}): Promise<Page> {
    this.#checkOpen();
    const { limit = Infinity, after = "", at } = options;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#listAt(prefix, { limit, after, at });
      } catch (error) {
        if (!(error instanceof Compacted) || at !== undefined || attempt === LIST_ATTEMPTS_MAX) throw error;
      }
    }
  }

  async commit(write: Write): Promise<Stored> {
    this.#checkOpen();
    checkWrite(write);
    const { key, expected, journal, audit, makesRoom = false } = write;
    // Copied tight: a view into a larger buffer would carry all of that buffer to the other thread.
    const value = write.value && new Uint8Array(write.value);
    const asked = expected === null ? null : (numberOf(expected, this.identity.incarnation) ?? NO_SUCH_REVISION);
    const outcome = await this.#queue.add({ key, expected: asked, value, makesRoom, ...(journal && { journal: { ...journal } }), ...(audit && { audit }) });
    if (outcome.result === "full") throw new StoreFull("Cannot write: the disk is full, and what room is left is for deletions");
    if (outcome.result === "replayed") throw new RequestReplayed(this.#entry(outcome.entry));
    if (outcome.result === "conflict") {
      throw new Conflict(key, expected, outcome.actual === null ? null : this.#revision(outcome.actual));
    }
    return { key, value: value ?? outcome.previous!, revision: this.#revision(outcome.revision) };
  }

  async *watch(prefix: string, from: Revision, signal: AbortSignal): AsyncGenerator<Change | Bookmark> {
    const log = {
      feed: this.#feed,
      incarnation: this.identity.incarnation,
      readAfter: (within: string, at: number) => this.#readAfter(within, at),
    };
    yield* watchLog(log, { prefix, from: await this.#known(from) }, signal);
  }

  async request(requestId: string): Promise<JournalEntry | undefined> {
    const entry = await this.#reads.request(requestId);
    return entry && this.#entry(entry);
  }

  async journalOf(key: string, limit: number): Promise<JournalEntry[]> {
    const entries = await this.#reads.journalOf(key, limit);
    return entries.map((entry) => this.#entry(entry));
  }

  async compact(before: Revision): Promise<void> {
    const mark = await this.#known(before);
    if (mark <= this.#feed.compacted) return;
    await this.#write(() => this.#threads.writer.call("compact", mark));
    this.#feed.compacted = Math.max(this.#feed.compacted, mark);
  }

  async expireJournal(atMs: number): Promise<void> {
    this.#checkOpen();
    await this.#write(() => this.#threads.writer.call("expireJournal", atMs));
  }

  async appendAudit(acts: readonly Act[]): Promise<void> {
    this.#checkOpen();
    if (acts.length > 0) await this.#write(() => this.#threads.writer.call("appendAudit", acts));
  }

  async audit(query: AuditQuery): Promise<AuditStretch> {
    this.#checkOpen();
    return this.#read("audit", query);
  }

  async expireAudit(upTo: Mark): Promise<void> {
    this.#checkOpen();
    await this.#write(() => this.#threads.writer.call("expireAudit", upTo));
  }

  /** Orders faults, for tests of what a bad disk does. */
  async inject(faults: SqliteFaults): Promise<void> {
    await this.#threads.writer.call("faults", faults);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#feed.close();
    await this.#queue.drained();
    const { writer, reader, checker } = this.#threads;
    // The writer is the last to let go of the file, and tidies up; a thread that failed before has nothing to close.
    for (const close of [() => checker.call("close", null), () => reader.call("close", null), () => writer.call("close", null)]) {
      await close().catch(() => undefined);
    }
    await Promise.all([checker.stop(), reader.stop(), writer.stop()]);
  }

  async #listAt(prefix: string, { limit, after, at }: { limit: number; after: string; at: Revision | undefined }): Promise<Page> {
    const items: Stored[] = [];
    let number = at === undefined ? undefined : this.#numberOf(at);
    for (let cursor = after; ; cursor = items.at(-1)!.key) {
      const wanted = Math.min(PAGE_ITEMS_MAX, limit - items.length);
      const query = { prefix, after: cursor, limit: wanted, ...(number !== undefined && { at: number }) };
      const page = await this.#reads.page(query);
      this.#checkPage(page);
      number = page.at;
      for (const row of page.items) items.push(this.#stored(row));
      const revision = this.#revision(number);
      if (!page.more) return { items, revision };
      if (items.length >= limit) return { items, revision, next: items.at(-1)?.key ?? after };
    }
  }

  #checkPage({ at, compacted, head }: WirePage): void {
    if (at > head) throw new FutureRevision(this.#revision(at), this.#revision(head));
    checkKept(at, compacted, this.identity.incarnation);
  }

  async #readAfter(prefix: string, at: number): Promise<Batch & { compacted: number }> {
    const { changes, ...rest } = await this.#reads.changes(prefix, at);
    return { ...rest, changes: changes.map((change) => this.#change(change)) };
  }

  /** Only what committed has a number, and those have no gap between them. */
  #announce(writes: WireWrite[], outcomes: Outcome[]): void {
    const changes: Change[] = [];
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome.result !== "committed") continue;
      const { key, value } = writes[index]!;
      const { revision } = outcome;
      // The bytes that are here already are those that objects are known by.
      const previous = outcome.previous && (this.#live.get(key)?.value ?? outcome.previous);
      this.#live.put(key, revision, value);
      changes.push(this.#change({ key, value, revision, ...(previous && { previous }) }));
    }
    this.#feed.append(changes);
  }

  async #read<K extends keyof ReaderCalls>(name: K, input: ReaderCalls[K]["input"]): Promise<ReaderCalls[K]["output"]> {
    this.#checkOpen();
    try {
      return await this.#threads.reader.call(name, input);
    } catch (error) {
      if (error instanceof DataLoss) this.#damaged(error);
      if (error instanceof DiskFailure) throw new DataLoss(`Cannot read: ${error.message}`, { cause: error });
      throw error;
    }
  }

  async #write<T>(write: () => Promise<T>): Promise<T> {
    if (this.#fault) throw this.#fault;
    try {
      return await write();
    } catch (error) {
      if (error instanceof DataLoss) this.#damaged(error);
      if (error instanceof DiskFailure) this.#fatal(error);
      throw error instanceof DiskFailure ? this.#fault : error;
    }
  }

  async #checkAll(): Promise<void> {
    const { checker } = this.#threads;
    await checker.call("pages", null);
    for (const part of ["log", "journal"] as const) {
      let cursor: number | null = 0;
      while (cursor !== null && !this.#closing) cursor = await checker.call(part, cursor);
    }
  }

  #checkFailed(error: unknown): void {
    if (this.#closing || error instanceof StoreClosed) return;
    this.#damaged(error instanceof DataLoss ? error : new DataLoss("The check of the store's file failed", { cause: error }));
  }

  #damaged(error: DataLoss): void {
    if (this.#fault) return;
    this.#fault = new DataLoss(`The store only reads: ${error.message}`, { cause: error });
    this.#options.onDataLoss?.(error);
  }

  /** Never tried again: after a failed fsync the kernel may call pages clean that never reached the disk. */
  #fatal(error: Error): void {
    if (this.#closing || this.#fault?.cause === error) return;
    this.#fault = new DataLoss(`Cannot tell what is on the disk: ${error.message}`, { cause: error });
    this.#options.onFatal(error);
  }

  /** The reader may have seen a commit that was not announced here yet, so it is asked before a revision is refused. */
  async #known(revision: Revision): Promise<number> {
    this.#checkOpen();
    const number = this.#numberOf(revision);
    if (number <= this.#feed.head) return number;
    const head = await this.#reads.head();
    if (number > head) throw new FutureRevision(revision, this.#revision(head));
    return number;
  }

  #numberOf(revision: Revision): number {
    const number = numberOf(revision, this.identity.incarnation);
    if (number === undefined) throw new FutureRevision(revision, this.#revision(this.#feed.head));
    return number;
  }

  #change({ key, value, revision, previous }: WireChange): Change {
    const at = this.#revision(revision);
    if (value === null) return { type: "delete", key, revision: at, previous: previous! };
    return { type: "put", key, value, revision: at, ...(previous && { previous }) };
  }

  #stored({ key, value, revision }: WireRow): Stored {
    return { key, value, revision: this.#revision(revision) };
  }

  #entry({ journal, after }: WireEntry): JournalEntry {
    return { ...journal, after: this.#revision(after) };
  }

  #revision(number: number): Revision {
    return formatRevision(this.identity.incarnation, number);
  }

  #checkOpen(): void {
    if (this.#closing) throw new StoreClosed("The store is closed");
  }
}
