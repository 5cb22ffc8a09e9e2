/** A watch is a cursor on the log: a slow reader falls behind, is cut only by compaction, and never loses a change. */
import type { Batch, Feed } from "./feed.ts";
import { formatRevision } from "./revision.ts";
import { type Bookmark, type Change, Compacted, StoreClosed } from "./store.ts";

export type Log = {
  feed: Feed;
  incarnation: string;
  /** Changes that the feed no longer has; they may reach further than the feed. */
  readAfter: (prefix: string, at: number) => Promise<Batch & { compacted: number }>;
};

/** Throws unless everything after `at` is still kept. */
export function checkKept(at: number, compacted: number, incarnation: string): void {
  if (at < compacted) throw new Compacted(formatRevision(incarnation, at), formatRevision(incarnation, compacted));
}

export async function* watchLog(
  log: Log,
  { prefix, from }: { prefix: string; from: number },
  signal: AbortSignal,
): AsyncGenerator<Change | Bookmark> {
  const { feed, incarnation } = log;
  const bookmark = (number: number): Bookmark => ({ type: "bookmark", revision: formatRevision(incarnation, number) });
  checkKept(from, feed.compacted, incarnation);
  yield bookmark(from);
  for (let at = from, told = from; ; ) {
    signal.throwIfAborted();
    if (feed.closed) throw new StoreClosed("The store is closed");
    checkKept(at, feed.compacted, incarnation);
    const batch = feed.after(prefix, at) ?? (await olderChanges(log, prefix, at));
    for (const change of batch.changes) {
      yield change;
      signal.throwIfAborted();
    }
    at = batch.upTo;
    if (batch.more) continue;
    if (at > told) yield bookmark((told = at));
    at = await feed.beyond({ prefix, at }, signal);
  }
}

async function olderChanges({ readAfter, incarnation }: Log, prefix: string, at: number): Promise<Batch> {
  const batch = await readAfter(prefix, at);
  checkKept(at, batch.compacted, incarnation);
  return batch;
}
