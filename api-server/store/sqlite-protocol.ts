/** What the main thread and the database's threads say to each other: plain data, revisions as numbers. */
import type { Act, AuditQuery, AuditStretch, Mark } from "./audit.ts";
import type { Journal, Store } from "./store.ts";

export type SqliteFile = { path: string; identity: Store["identity"]; create: boolean };
/** Faults that a test can order; a real store has none. */
export type SqliteFaults = {
  /** Holds up the writing thread before each COMMIT, as an fsync on a slow disk does. */
  commitDelayMs?: number;
};
export type SqliteLimits = {
  /** Pages that the file may have; beyond them it counts as a full disk. */
  pagesMax?: number;
  /** So many of them are kept back for what makes room. */
  sparePages?: number;
};
export type WriterSettings = SqliteFile & { faults: SqliteFaults; limits: SqliteLimits };

export type Opened = { identity: Store["identity"]; path: string; head: number; compacted: number };
export type WireWrite = { key: string; expected: number | null; value: Uint8Array | null; journal?: Journal; audit?: Act; makesRoom?: boolean };
export type WireEntry = { journal: Journal; after: number };
export type Outcome =
  | { result: "committed"; revision: number; previous?: Uint8Array }
  | { result: "conflict"; actual: number | null }
  | { result: "replayed"; entry: WireEntry }
  | { result: "full" };

export type WireRow = { key: string; revision: number; value: Uint8Array };
export type WireChange = { key: string; revision: number; value: Uint8Array | null; previous?: Uint8Array };
export type WirePage = { items: WireRow[]; at: number; compacted: number; head: number; more: boolean };
export type WireBatch = { changes: WireChange[]; upTo: number; more: boolean; compacted: number };
export type ListQuery = { prefix: string; after: string; limit: number; at?: number };

/** Each thread answers these, one message for each call. */
export type WriterCalls = {
  open: { input: null; output: Opened };
  commit: { input: WireWrite[]; output: Outcome[] };
  /** Answers when the mark is durable; the rows go chunk by chunk behind it. */
  compact: { input: number; output: null };
  expireJournal: { input: number; output: null };
  appendAudit: { input: readonly Act[]; output: null };
  expireAudit: { input: Mark; output: null };
  faults: { input: SqliteFaults; output: null };
  close: { input: null; output: null };
};
export type ReaderCalls = {
  head: { input: null; output: number };
  /** `head` is at least as new as what was found, or found missing. */
  get: { input: string; output: { row: WireRow | null; head: number } };
  /** The live keys after one, in order; none at the end. */
  keys: { input: string; output: { key: string; revision: number }[] };
  list: { input: ListQuery; output: WirePage };
  changes: { input: { prefix: string; at: number }; output: WireBatch };
  request: { input: string; output: WireEntry | null };
  audit: { input: AuditQuery; output: AuditStretch };
  journalOf: { input: { key: string; limit: number }; output: WireEntry[] };
  close: { input: null; output: null };
};
/** Each call checks a stretch and answers where the next begins. */
export type CheckCalls = {
  pages: { input: null; output: null };
  log: { input: number; output: number | null };
  journal: { input: number; output: number | null };
  close: { input: null; output: null };
};

/** A failure by what the other side does about it. `fatal`: nobody knows what is on the disk, so nobody may go on. */
export type FailureKind = "full" | "corrupt" | "fatal" | "refused" | "in-use" | "fault";
export type Failure = { kind: FailureKind; message: string };
