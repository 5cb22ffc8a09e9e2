/**
 * Entry of the one thread that writes. An fsync blocks here and nowhere else. All writes that wait go into one
 * transaction; each is decided inside it in the order of arrival, and nobody hears of an outcome before the COMMIT.
 */
import { chmodSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { workerData } from "node:worker_threads";
import { decide } from "./decide.ts";
import type { Act, Mark } from "./audit.ts";
import { AuditWriter } from "./sqlite-audit.ts";
import { checkTail } from "./sqlite-checks.ts";
import { admit, checkMarker, checkMayBegin, checkWriteAheadLog, lock, realPath, upgrade, writeMarker } from "./sqlite-files.ts";
import type { Opened, Outcome, WireWrite, WriterCalls, WriterSettings } from "./sqlite-protocol.ts";
import { type Extent, SELECT_EXTENT } from "./sqlite-schema.ts";
import { Spare } from "./sqlite-spare.ts";
import { openStatements, type Statements } from "./sqlite-statements.ts";
import { answer, failureOf } from "./sqlite-thread.ts";
import { formatRevision } from "./revision.ts";
import { StoreFull } from "./store.ts";

type Writer = { database: DatabaseSync; lock: DatabaseSync; path: string; identity: Opened["identity"]; statements: Statements; audit: AuditWriter; head: number; spare: Spare };

/** The write-ahead log is copied into the file after about this much, outside of any commit that somebody waits for. */
const CHECKPOINT_BYTES = 16 * 1024 * 1024;
/** Pages that one write touches beside its value's: log, its index, latest, journal and its indexes, audit. */
const WRITE_BYTES = 7 * 4096;
const SWEEP_REVISIONS = 2_000;
const VACUUM_PAGES = 500;
const SHRINK_PAGES = 10_000;
const EXPIRE_ENTRIES = 1_000;

const settings = workerData as WriterSettings;
const sleeper = new Int32Array(new SharedArrayBuffer(4));
let { faults } = settings;
let sinceCheckpointBytes = 0;
let sweeping = false;
let writer: Writer;

answer<WriterCalls>({
  open: () => open(),
  commit: (writes) => commit(writes),
  compact: (mark) => (compact(mark), null),
  expireJournal: (atMs) => (expireJournal(atMs), null),
  appendAudit: (acts) => (appendAudit(acts), null),
  expireAudit: (upTo) => (expireAudit(upTo), null),
  faults: (ordered) => ((faults = ordered), null),
  close: () => (close(), null),
});

function open(): Opened {
  const path = realPath(settings.path);
  checkMayBegin(path, settings.create);
  const held = lock(path);
  try {
    admit({ ...settings, path });
    // SQLite gives its files beside this one the same mode.
    chmodSync(path, 0o600);
    checkWriteAheadLog(path);
    return openDatabase(path, held);
  } catch (error) {
    held.close();
    throw error;
  }
}

function openDatabase(path: string, held: DatabaseSync): Opened {
  const database = new DatabaseSync(path);
  // Checkpoints are run by hand: SQLite swallows an error of those that it runs by itself.
  database.exec("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864");
  const extent = checkTail(database);
  const identity = readIdentity(database);
  upgrade(database, identity.storeId);
  const statements = openStatements(database);
  checkMarker(path, { storeId: identity.storeId, mark: statements.mark("mark") });
  const spare = new Spare(database, path, settings.limits);
  const audit = new AuditWriter(database);
  writer = { database, lock: held, path, identity, statements, audit, head: extent.head, spare };
  if (!spare.hold()) spare.release();
  whenRoom(moveMark);
  sweepSoon();
  return { identity, path, ...extent };
}

/** Into the write-ahead log first and beside the file second, so that a log that is lost later is missed at the next open. */
function moveMark(): void {
  const { path, identity, statements } = writer;
  const mark = statements.mark("mark") + 1;
  inTransaction(() => statements.setMark("mark", mark));
  writeMarker(path, { storeId: identity.storeId, mark });
}

function readIdentity(database: DatabaseSync): Opened["identity"] {
  const read = (name: string) => String(database.prepare("SELECT value FROM meta WHERE name = ?").get(name)?.["value"]);
  return { storeId: read("store_id"), incarnation: read("incarnation") };
}

function commit(writes: WireWrite[]): Outcome[] {
  const outcomes = writer.spare.hold() ? applyAll(writes) : applyRelief(writes);
  for (const { value } of writes) sinceCheckpointBytes += WRITE_BYTES + (value?.length ?? 0);
  if (sinceCheckpointBytes > CHECKPOINT_BYTES) {
    sinceCheckpointBytes = 0;
    setImmediate(checkpoint);
  }
  return outcomes;
}

function applyAll(writes: WireWrite[]): Outcome[] {
  try {
    return inTransaction(() => writes.map(apply));
  } catch (error) {
    if (failureOf(error).kind !== "full") throw error;
    writer.spare.release();
    setImmediate(checkpoint);
    return applyRelief(writes);
  }
}

/** From the room that was kept back only what makes room is written, or deletions would find none. */
function applyRelief(writes: WireWrite[]): Outcome[] {
  const makesRoom = (write: WireWrite) => write.value === null || write.makesRoom === true;
  if (!writes.some(makesRoom)) return writes.map(() => ({ result: "full" }));
  return inTransaction(() => writes.map((write) => (makesRoom(write) ? apply(write) : { result: "full" })));
}

function apply({ key, expected, value, journal, audit }: WireWrite): Outcome {
  const { statements } = writer;
  const newest = statements.newestOf(key);
  const done = journal && statements.entryOf(journal.requestId);
  const verdict = decide(expected, { newest, done });
  if (verdict.verdict === "replayed") return { result: "replayed", entry: verdict.entry };
  if (verdict.verdict === "conflict") return { result: "conflict", actual: verdict.actual };
  const revision = ++writer.head;
  const previous = newest === null ? undefined : statements.valueOf(newest);
  statements.append({ revision, key, previous: newest ?? 0, value });
  if (journal) statements.record(journal, revision);
  if (audit) writer.audit.append(audit, formatRevision(writer.identity.incarnation, revision));
  return { result: "committed", revision, ...(previous && { previous }) };
}

/** Takes back the numbers that it gave when the transaction does not come to be. */
function inTransaction<T>(run: () => T): T {
  const { database, head, audit } = writer;
  database.exec("BEGIN IMMEDIATE");
  try {
    const result = run();
    audit.settle();
    if (faults.commitDelayMs !== undefined) Atomics.wait(sleeper, 0, 0, faults.commitDelayMs);
    database.exec("COMMIT");
    audit.committed();
    return result;
  } catch (error) {
    writer.head = head;
    audit.rolledBack();
    // A full disk may have rolled back already.
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

/** Not from within a call: an error here is not the caller's, it ends the thread and thereby the store's writing. */
function checkpoint(): void {
  const { database } = writer;
  if (!database.isOpen) return;
  whenRoom(() => {
    database.exec(`PRAGMA wal_checkpoint(${writer.spare.held ? "PASSIVE" : "TRUNCATE"})`);
    moveMark();
  });
}

/** Upkeep makes room, so that it may use what is kept back. */
function upkeep<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (failureOf(error).kind !== "full" || !writer.spare.held) throw error;
    writer.spare.release();
    return run();
  }
}

/** What the disk has no room for even so is put off; any other failure ends the thread. */
function whenRoom(run: () => void): boolean {
  try {
    upkeep(run);
    return true;
  } catch (error) {
    if (failureOf(error).kind !== "full") throw error;
    return false;
  }
}

function compact(mark: number): void {
  upkeep(() => inTransaction(() => writer.statements.setMark("compacted", mark)));
  sweepSoon();
}

/** The mark counts from its commit on; the rows below it go between the writes, and after a crash from where it was. */
function sweepSoon(): void {
  if (sweeping) return;
  sweeping = true;
  setImmediate(sweep);
}

function sweep(): void {
  sweeping = false;
  const { database, statements } = writer;
  if (!database.isOpen) return;
  const { compacted } = database.prepare(SELECT_EXTENT).get() as Extent;
  const from = statements.mark("swept");
  const to = Math.min(compacted, from + SWEEP_REVISIONS);
  if (to <= from) {
    if (!writer.spare.held) shrink();
    return;
  }
  const done = whenRoom(() => {
    inTransaction(() => {
      statements.forget(from, to);
      statements.setMark("swept", to);
    });
    database.prepare(`PRAGMA incremental_vacuum(${VACUUM_PAGES})`).all();
  });
  if (done) sweepSoon();
}

/** On a full disk what was freed in the file goes back to the disk at once, for the spare to be taken again. */
function shrink(): void {
  whenRoom(() => void writer.database.prepare(`PRAGMA incremental_vacuum(${SHRINK_PAGES})`).all());
  checkpoint();
}

/** Entries stand in the order of commits, which is that of time, so that it ends at the first one to keep. */
function expireJournal(atMs: number): void {
  let gone: number;
  do gone = upkeep(() => inTransaction(() => writer.statements.expire(atMs, EXPIRE_ENTRIES)));
  while (gone > 0);
}

/** The room that is kept back is not for these. */
function appendAudit(acts: readonly Act[]): void {
  if (!writer.spare.hold()) throw new StoreFull("the disk is full");
  inTransaction(() => {
    for (const act of acts) writer.audit.append(act, "");
  });
}

function expireAudit(upTo: Mark): void {
  upkeep(() => inTransaction(() => writer.audit.forget(upTo)));
}

function close(): void {
  const { database } = writer;
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  database.close();
  writer.lock.close();
}
