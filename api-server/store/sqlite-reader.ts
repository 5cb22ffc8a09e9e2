/**
 * Entry of the thread that reads, on a connection of its own: in WAL mode it waits for no writer, and what it sees is
 * durable, since SQLite shows a commit to others only after its fsync.
 */
import { DatabaseSync } from "node:sqlite";
import { workerData } from "node:worker_threads";
import { auditReader } from "./sqlite-audit.ts";
import type { ListQuery, ReaderCalls, WireBatch, WireChange, WirePage, WireRow } from "./sqlite-protocol.ts";
import { checkedJournalRow, checkedLogRow, type Extent, type JournalRow, LOG_COLUMNS, type LogRow, SELECT_EXTENT } from "./sqlite-schema.ts";
import { answer } from "./sqlite-thread.ts";

/** A batch ends when it holds this much, so that a backlog of large objects never stands in memory at once. */
const BATCH_BYTES_MAX = 8 * 1024 * 1024;
const BATCH_ROWS_MAX = 500;
const KEYS_MAX = 10_000;
/** Sorts after every key with the prefix, as keys are ASCII. */
const LAST = "\u{10ffff}";

const { path } = workerData as { path: string };
const database = new DatabaseSync(path, { readOnly: true });
const extent = database.prepare(SELECT_EXTENT);
const newest = database.prepare(`SELECT ${LOG_COLUMNS} FROM latest JOIN log USING (revision) WHERE latest.key = ?`);
const keys = database.prepare(`SELECT key, revision FROM latest WHERE key > ? ORDER BY key LIMIT ${KEYS_MAX}`);
const byRevision = database.prepare(`SELECT ${LOG_COLUMNS} FROM log WHERE revision = ?`);
const live = database.prepare(
  `SELECT ${LOG_COLUMNS} FROM latest JOIN log USING (revision)
   WHERE latest.key > ? AND latest.key >= ? AND latest.key < ? ORDER BY latest.key`,
);
const liveAt = database.prepare(
  `SELECT ${LOG_COLUMNS}
   FROM (SELECT key, max(revision) AS revision FROM log INDEXED BY log_by_key
         WHERE key > ? AND key >= ? AND key < ? AND revision <= ? GROUP BY key) AS newest
   JOIN log ON log.revision = newest.revision WHERE log.value IS NOT NULL ORDER BY newest.key`,
);
const after = database.prepare(`SELECT ${LOG_COLUMNS} FROM log WHERE revision > ? ORDER BY revision LIMIT ${BATCH_ROWS_MAX}`);
const entry = database.prepare("SELECT * FROM journal WHERE request_id = ?");
const entriesOf = database.prepare("SELECT * FROM journal WHERE key = ? ORDER BY after DESC LIMIT ?");
const readAudit = auditReader(database);

answer<ReaderCalls>({
  head: () => readExtent().head,
  get(key) {
    const row = wireRow(newest.get(key) as LogRow | undefined);
    return { row, head: readExtent().head };
  },
  keys: (cursor) => keys.all(cursor) as { key: string; revision: number }[],
  list: (query) => inSnapshot(() => list(query)),
  changes: ({ prefix, at }) => inSnapshot(() => changes(prefix, at)),
  request(requestId) {
    const row = entry.get(requestId) as JournalRow | undefined;
    return row ? checkedJournalRow(row) : null;
  },
  audit: (query) => inSnapshot(() => readAudit(query)),
  journalOf: ({ key, limit }) => (entriesOf.all(key, limit) as JournalRow[]).map(checkedJournalRow),
  close: () => (database.close(), null),
});

function inSnapshot<T>(read: () => T): T {
  database.exec("BEGIN");
  try {
    return read();
  } finally {
    database.exec("COMMIT");
  }
}

function list({ prefix, after: cursor, limit, at }: ListQuery): WirePage {
  const { compacted, head } = readExtent();
  const number = at ?? head;
  const page: WirePage = { items: [], at: number, compacted, head, more: false };
  if (number > head || number < compacted) return page;
  const range = [cursor, prefix, prefix + LAST] as const;
  const rows = number === head ? live.iterate(...range) : liveAt.iterate(...range, number);
  let bytes = 0;
  for (const row of rows) {
    // One row more than asked for is looked at: it tells whether this is the last page.
    if (page.items.length >= limit || bytes >= BATCH_BYTES_MAX) return { ...page, more: true };
    const item = wireRow(row as LogRow)!;
    page.items.push(item);
    bytes += item.value.length;
  }
  return page;
}

function changes(prefix: string, at: number): WireBatch {
  const { compacted, head } = readExtent();
  const batch: WireBatch = { changes: [], upTo: at, more: false, compacted };
  if (at < compacted) return batch;
  let bytes = 0;
  for (const row of after.iterate(at)) {
    const found = checkedLogRow(row as LogRow);
    batch.upTo = found.revision;
    if (found.key.startsWith(prefix)) batch.changes.push(changeOf(found));
    bytes += found.value?.length ?? 0;
    if (bytes >= BATCH_BYTES_MAX) break;
  }
  return { ...batch, more: batch.upTo < head };
}

/** Compaction keeps what the oldest kept change superseded, so the previous value is always there. */
function changeOf({ key, revision, previous, value }: LogRow): WireChange {
  if (previous === 0) return { key, revision, value };
  const superseded = wireRow(byRevision.get(previous) as LogRow | undefined);
  return { key, revision, value, ...(superseded && { previous: superseded.value }) };
}

function readExtent(): Extent {
  return extent.get() as Extent;
}

function wireRow(row: LogRow | undefined): WireRow | null {
  if (row === undefined) return null;
  const { key, revision, value } = checkedLogRow(row);
  return value === null ? null : { key, revision, value };
}
