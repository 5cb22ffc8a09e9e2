/**
 * The tables, in kine's shape: an append-only log whose row number is the revision, a table of each live key's newest
 * row, and the journal of requests, written in the transaction of the object. A row carries its own checksum.
 */
import { crc32 } from "node:zlib";
import { DataLoss, type Journal } from "./store.ts";

/** "DRVR" in the file's header: tells Drover's files from any other program's. */
export const APPLICATION_ID = 0x44525652;
export const SCHEMA_VERSION = 2;

/** New in version 2. Its rows hold each other's hashes; both ends of the chain are in `meta`. */
export const AUDIT_SCHEMA = "CREATE TABLE audit (seq INTEGER PRIMARY KEY, line TEXT NOT NULL) STRICT;";

/** Deletions are rows without a value. `previous` is the row that this one superseded, 0 at a creation. */
export const SCHEMA = `
  PRAGMA auto_vacuum = INCREMENTAL;
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_VERSION};
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE log (
    revision INTEGER PRIMARY KEY, key TEXT NOT NULL, previous INTEGER NOT NULL, value BLOB, checksum INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX log_by_key ON log (key, revision);
  CREATE TABLE latest (key TEXT PRIMARY KEY, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE journal (
    after INTEGER PRIMARY KEY, request_id TEXT NOT NULL UNIQUE, body_hash TEXT NOT NULL, rpc TEXT NOT NULL,
    subject TEXT NOT NULL, key TEXT NOT NULL, before TEXT NOT NULL, at_ms INTEGER NOT NULL, checksum INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX journal_by_key ON journal (key, after);
  ${AUDIT_SCHEMA}
`;

export const LOG_COLUMNS = "log.revision, log.key, log.previous, log.value, log.checksum";
/**
 * Where the log stands, for one snapshot. The newest rows may be tombstones that compaction took, so the mark counts too.
 */
export const SELECT_EXTENT = `
  SELECT value AS compacted, max(value, coalesce((SELECT max(revision) FROM log), 0)) AS head
  FROM meta WHERE name = 'compacted'`;

/** As a row comes from the log; a null value is a deletion. */
export type LogRow = { revision: number; key: string; previous: number; value: Uint8Array | null; checksum: number };
export type JournalRow = {
  after: number;
  request_id: string;
  body_hash: string;
  rpc: string;
  subject: string;
  key: string;
  before: string;
  at_ms: number;
  checksum: number;
};
export type Extent = { compacted: number; head: number };

export function logChecksum({ revision, key, previous, value }: Omit<LogRow, "checksum">): number {
  const head = crc32(`${revision} ${previous} ${value === null ? "-" : value.length} ${key}`);
  return value === null ? head : crc32(value, head);
}

export function journalChecksum(entry: Journal, after: number): number {
  const { requestId, bodyHash, rpc, subject, key, before, atMs } = entry;
  return crc32(JSON.stringify([after, requestId, bodyHash, rpc, subject, key, before, atMs]));
}

export function checkedLogRow(row: LogRow): LogRow {
  if (logChecksum(row) !== row.checksum) throw new DataLoss(`Revision ${row.revision} of "${row.key}" fails its checksum`);
  return row;
}

export function checkedJournalRow(row: JournalRow): { journal: Journal; after: number } {
  const { after, request_id, body_hash, rpc, subject, key, before, at_ms, checksum } = row;
  const journal: Journal = { requestId: request_id, bodyHash: body_hash, rpc, subject, key, before, atMs: at_ms };
  if (journalChecksum(journal, after) !== checksum) throw new DataLoss(`The journal's entry ${after} fails its checksum`);
  return { journal, after };
}
