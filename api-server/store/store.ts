/**
 * The port to whatever keeps the records. Drover relies on one thing only: compare-and-set of a single object,
 * durable when it resolves. Every adapter passes `test/contract/store.ts`.
 */

import type { Act, AuditQuery, AuditStretch, Mark } from "./audit.ts";

/** Opaque outside the store: `<incarnation>.<number>`; `<incarnation>.0` comes before every commit. See `revision.ts`. */
export type Revision = string;

export type Stored = {
  key: string;
  value: Uint8Array;
  /** The commit that wrote this value. */
  revision: Revision;
};

/** What the API remembers of a mutation, written in the same transaction as the object. */
export type Journal = {
  /** Idempotency key, unique for 24 h; the API scopes it by subject. */
  requestId: string;
  /** SHA-256 of the request without its id: the same id with another body is a caller's mistake. */
  bodyHash: string;
  /** Full RPC name, such as `/drover.v1.VirtualMachineService/StartVirtualMachine`. */
  rpc: string;
  /** Who asked. */
  subject: string;
  /** The key and the revision that the change was decided on; empty for a creation. */
  key: string;
  before: Revision;
  /** Wall time in milliseconds since 1970, for people and for the 24 h window. */
  atMs: number;
};
/** `after` is the revision that the change produced. */
export type JournalEntry = Journal & { after: Revision };

export type Write = {
  /** Printable ASCII, at most 1,024 characters. */
  key: string;
  /** The revision that the caller read; `null` demands that the key is absent. One of another incarnation never matches. */
  expected: Revision | null;
  /** `null` deletes, and then `expected` names a revision. The bytes are copied; those of a reader are shared, not to be changed. */
  value: Uint8Array | null;
  journal?: Journal;
  /** Whose act the change is: appended to the audit in the same transaction. */
  audit?: Act;
  /** A step towards a deletion: like a deletion, it is written on a full disk too, as far as the room that is kept back goes. */
  makesRoom?: boolean;
};

export type Page = { items: Stored[]; revision: Revision; /** Key to pass as `after`; absent on the last page. */ next?: string };

export type Change =
  | { type: "put"; key: string; value: Uint8Array; revision: Revision; /** Absent when the key was created. */ previous?: Uint8Array }
  | { type: "delete"; key: string; revision: Revision; previous: Uint8Array };
/** Everything up to `revision` has been delivered, whether or not it touched the prefix. */
export type Bookmark = { type: "bookmark"; revision: Revision };

export interface Store extends AsyncDisposable {
  /** Made with the store and kept for its life; a restore from backup gets another incarnation. */
  readonly identity: { storeId: string; incarnation: string };
  /** Newest revision that is durable. */
  head(): Promise<Revision>;
  /** Linearizable: sees every commit that resolved before the call. */
  get(key: string): Promise<Stored | undefined>;
  /**
   * Consistent at one revision: `at`, else the head. Ordered by key; everything unless there is a `limit`. Throws
   * Compacted or FutureRevision.
   */
  list(prefix: string, options?: { limit?: number; after?: string; at?: Revision }): Promise<Page>;
  /**
   * Compare-and-set. Durable when it resolves; a deletion resolves to the last value and the revision that removed it.
   * Throws RequestReplayed when `journal.requestId` is known (decided before all else), Conflict, StoreFull or DataLoss.
   */
  commit(write: Write): Promise<Stored>;
  /**
   * Every change under `prefix` after `from` (exclusive), in order, once, without a gap, then as they come. A bookmark
   * follows each caught-up batch, and comes when the log grew elsewhere; the first, for `from` itself, comes at once.
   * Ends by throwing Compacted, FutureRevision, StoreClosed or the signal's reason.
   */
  watch(prefix: string, from: Revision, signal: AbortSignal): AsyncIterable<Change | Bookmark>;
  /** The entry of a request id, within its 24 hours. */
  request(requestId: string): Promise<JournalEntry | undefined>;
  /** Newest first: the mutations of one key, for `explain` and the audit. */
  journalOf(key: string, limit: number): Promise<JournalEntry[]>;
  /** Forgets superseded revisions up to and including `before`; live values stay. Lists and watches reach back to it. */
  compact(before: Revision): Promise<void>;
  /** Forgets journal entries written before `atMs`. */
  expireJournal(atMs: number): Promise<void>;
  /** Adds acts that change no object, such as what was refused. Durable when it resolves. Throws StoreFull or DataLoss. */
  appendAudit(acts: readonly Act[]): Promise<void>;
  /** A stretch of the audit at one moment, with both ends of its chain. Bounded, so that `reached` may come before `limit`. */
  audit(query: AuditQuery): Promise<AuditStretch>;
  /** Forgets entries up to and including this one; the chain goes on from its hash. */
  expireAudit(upTo: Mark): Promise<void>;
  /** Waits for the writes under way; every watch and every later call ends with StoreClosed. Safe to repeat. */
  close(): Promise<void>;
}

export class Conflict extends Error {
  override name = "Conflict";
  readonly key: string;
  /** What stands there now; `null` when the key is absent. */
  readonly actual: Revision | null;
  constructor(key: string, expected: Revision | null, actual: Revision | null) {
    super(`Cannot commit "${key}" as it changed: expected ${expected ?? "no object"}, found ${actual ?? "no object"}`);
    this.key = key;
    this.actual = actual;
  }
}

export class RequestReplayed extends Error {
  override name = "RequestReplayed";
  readonly entry: JournalEntry;
  constructor(entry: JournalEntry) {
    super(`Request "${entry.requestId}" was already carried out at revision ${entry.after}`);
    this.entry = entry;
  }
}

/** The revision is older than what is kept. */
export class Compacted extends Error {
  override name = "Compacted";
  readonly oldest: Revision;
  constructor(asked: Revision, oldest: Revision) {
    super(`Revision ${asked} is compacted: the oldest to read from is ${oldest}`);
    this.oldest = oldest;
  }
}

/** The revision is of another incarnation, malformed, or still ahead of this store after the wait. */
export class FutureRevision extends Error {
  override name = "FutureRevision";
  readonly head: Revision;
  constructor(asked: Revision, head: Revision) {
    super(`Revision ${asked} is not of this store: its newest is ${head}`);
    this.head = head;
  }
}

/** The file fails a check. Reads that are still sound go on; nothing is written. */
export class DataLoss extends Error {
  override name = "DataLoss";
}

/** The disk is full, or more writes wait than the store takes on. Nothing of this write is kept; reads and watches go on. */
export class StoreFull extends Error {
  override name = "StoreFull";
}

/** The store was closed by its owner. */
export class StoreClosed extends Error {
  override name = "StoreClosed";
}

/** What the path holds is no store of Drover's to open: absent, empty, foreign, replaced, or of a newer version. */
export class StoreRefused extends Error {
  override name = "StoreRefused";
}

/** Another process has the store open. */
export class StoreInUse extends Error {
  override name = "StoreInUse";
}
