/** The writer's SQL behind names. Statements are prepared once. */
import type { DatabaseSync } from "node:sqlite";
import type { WireEntry } from "./sqlite-protocol.ts";
import { checkedJournalRow, checkedLogRow, type JournalRow, journalChecksum, LOG_COLUMNS, logChecksum, type LogRow } from "./sqlite-schema.ts";
import { DataLoss, type Journal } from "./store.ts";

/** Numbers in `meta`: how far compaction counts, how far its rows are gone, and what the marker file follows. */
export type Mark = "compacted" | "swept" | "mark";
export type Statements = ReturnType<typeof openStatements>;

export function openStatements(database: DatabaseSync) {
  return { ...objectStatements(database), ...journalStatements(database), ...upkeepStatements(database) };
}

function objectStatements(database: DatabaseSync) {
  const newest = database.prepare("SELECT revision FROM latest WHERE key = ?");
  const row = database.prepare(`SELECT ${LOG_COLUMNS} FROM log WHERE revision = ?`);
  const insert = database.prepare("INSERT INTO log (revision, key, previous, value, checksum) VALUES (?, ?, ?, ?, ?)");
  const point = database.prepare(
    "INSERT INTO latest (key, revision) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET revision = excluded.revision",
  );
  const unpoint = database.prepare("DELETE FROM latest WHERE key = ?");
  return {
    newestOf: (key: string) => (newest.get(key) as { revision: number } | undefined)?.revision ?? null,

    valueOf(revision: number): Uint8Array {
      const found = row.get(revision) as LogRow | undefined;
      if (found === undefined) throw new DataLoss(`Revision ${revision} is missing in the store's log`);
      const { key, value } = checkedLogRow(found);
      if (value === null) throw new DataLoss(`The newest revision of "${key}" is a deletion in the store's log`);
      return value;
    },

    append(written: Omit<LogRow, "checksum">): void {
      const { revision, key, previous, value } = written;
      insert.run(revision, key, previous, value, logChecksum(written));
      if (value === null) unpoint.run(key);
      else point.run(key, revision);
    },
  };
}

function journalStatements(database: DatabaseSync) {
  const entry = database.prepare("SELECT * FROM journal WHERE request_id = ?");
  const insert = database.prepare(
    `INSERT INTO journal (after, request_id, body_hash, rpc, subject, key, before, at_ms, checksum)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const expire = database.prepare(
    "DELETE FROM journal WHERE at_ms < ? AND after IN (SELECT after FROM journal ORDER BY after LIMIT ?)",
  );
  return {
    entryOf(requestId: string): WireEntry | undefined {
      const found = entry.get(requestId) as JournalRow | undefined;
      return found && checkedJournalRow(found);
    },
    record(journal: Journal, after: number): void {
      const { requestId, bodyHash, rpc, subject, key, before, atMs } = journal;
      insert.run(after, requestId, bodyHash, rpc, subject, key, before, atMs, journalChecksum(journal, after));
    },
    expire: (atMs: number, limit: number) => Number(expire.run(atMs, limit).changes),
  };
}

function upkeepStatements(database: DatabaseSync) {
  const mark = database.prepare("SELECT value FROM meta WHERE name = ?");
  const setMark = database.prepare("UPDATE meta SET value = ? WHERE name = ?");
  // What a stretch of the log superseded lies anywhere below; its own rows are superseded by it or by a later stretch.
  const superseded = database.prepare(
    "DELETE FROM log WHERE revision IN (SELECT previous FROM log WHERE revision > ? AND revision <= ? AND previous > 0)",
  );
  const tombstones = database.prepare("DELETE FROM log WHERE revision > ? AND revision <= ? AND value IS NULL");
  return {
    mark: (name: Mark) => Number(mark.get(name)?.["value"]),
    setMark: (name: Mark, number: number) => void setMark.run(number, name),
    forget(from: number, to: number): void {
      superseded.run(from, to);
      tombstones.run(from, to);
    },
  };
}
