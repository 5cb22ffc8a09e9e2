/** Is the file sound? The tail at each open, where a crash does its damage; the whole behind, chunk by chunk. */
import type { DatabaseSync } from "node:sqlite";
import { checkedJournalRow, checkedLogRow, type Extent, type JournalRow, LOG_COLUMNS, type LogRow, SELECT_EXTENT } from "./sqlite-schema.ts";
import { DataLoss } from "./store.ts";

const TAIL_ROWS = 1_000;
const CHUNK_ROWS = 500;

/** The newest rows are whole, and above the compaction mark no number is missing. */
export function checkTail(database: DatabaseSync): Extent {
  const extent = database.prepare(SELECT_EXTENT).get() as Extent | undefined;
  if (extent === undefined) throw new DataLoss("The store's compaction mark is missing");
  const from = Math.max(extent.compacted, extent.head - TAIL_ROWS);
  const rows = database.prepare(`SELECT ${LOG_COLUMNS} FROM log WHERE revision > ? ORDER BY revision`);
  let expected = from;
  for (const row of rows.iterate(from)) {
    const { revision } = checkedLogRow(row as LogRow);
    if (revision !== ++expected) throw new DataLoss(`Revision ${expected} is missing in the store's log`);
  }
  return extent;
}

/** SQLite's own check of pages, indexes and constraints. One call, which on a large file takes seconds. */
export function checkPages(database: DatabaseSync): void {
  const { quick_check: verdict } = database.prepare("PRAGMA quick_check(1)").get() as { quick_check: string };
  if (verdict !== "ok") throw new DataLoss(`The store's file is damaged: ${verdict}`);
}

/** Each live key's newest row in the log is the one that `latest` names. */
export function checkLatest(database: DatabaseSync): void {
  const odd = database
    .prepare(
      `SELECT key FROM (SELECT key, max(revision) AS revision FROM log GROUP BY key) AS newest JOIN log USING (revision, key)
       LEFT JOIN latest USING (key)
       WHERE latest.revision IS NOT iif(log.value IS NULL, NULL, log.revision) LIMIT 1`,
    )
    .get() as { key: string } | undefined;
  if (odd !== undefined) throw new DataLoss(`The store's newest revision of "${odd.key}" is not the one in its log`);
}

/** Checks one chunk of the log and answers where the next begins; undefined at the end. */
export function checkLogAfter(database: DatabaseSync, cursor: number): number | undefined {
  const rows = database.prepare(`SELECT ${LOG_COLUMNS} FROM log WHERE revision > ? ORDER BY revision LIMIT ${CHUNK_ROWS}`);
  let last: number | undefined;
  for (const row of rows.iterate(cursor)) last = checkedLogRow(row as LogRow).revision;
  return last;
}

export function checkJournalAfter(database: DatabaseSync, cursor: number): number | undefined {
  const rows = database.prepare(`SELECT * FROM journal WHERE after > ? ORDER BY after LIMIT ${CHUNK_ROWS}`);
  let last: number | undefined;
  for (const row of rows.iterate(cursor)) last = checkedJournalRow(row as JournalRow).after;
  return last;
}
