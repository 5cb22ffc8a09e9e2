/** Entry of the thread that checks the whole file while the store already serves. */
import { DatabaseSync } from "node:sqlite";
import { workerData } from "node:worker_threads";
import { checkJournalAfter, checkLatest, checkLogAfter, checkPages } from "./sqlite-checks.ts";
import type { CheckCalls } from "./sqlite-protocol.ts";
import { answer } from "./sqlite-thread.ts";

const { path } = workerData as { path: string };
const database = new DatabaseSync(path, { readOnly: true });

/** Each call is one short snapshot, so that the check never holds back the write-ahead log for long. */
answer<CheckCalls>({
  pages: () => (checkPages(database), checkLatest(database), null),
  log: (cursor) => checkLogAfter(database, cursor) ?? null,
  journal: (cursor) => checkJournalAfter(database, cursor) ?? null,
  close: () => (database.close(), null),
});
