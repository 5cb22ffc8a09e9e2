/** Walks the audit's chain from its beginning to its end, a stretch at a time, beside everything else. */
import { type AuditRow, type ChainFault, endFault, follow, hashOf, type Mark, STRETCH_ROWS_MAX } from "../store/audit.ts";
import type { Store } from "../store/store.ts";

export type Verdict = { fault: ChainFault | undefined; entries: number; begin: Mark; head: Mark };

/** `noted`: a head that was written down earlier, to be found again. */
export async function verifyAudit(store: Pick<Store, "audit">, { noted, signal }: { noted?: Mark | undefined; signal: AbortSignal }): Promise<Verdict> {
  let mark: Mark | undefined;
  let fault: ChainFault | undefined;
  let entries = 0;
  for (;;) {
    signal.throwIfAborted();
    const { begin, head, rows, more } = await store.audit({ after: mark?.seq ?? 0, limit: STRETCH_ROWS_MAX });
    // What was put away meanwhile needs no look any more.
    if (mark === undefined || mark.seq < begin.seq) mark = begin;
    const from: Mark = mark;
    const followed = follow(from, rows.filter(({ seq }) => seq > from.seq));
    entries += followed.mark.seq - from.seq;
    mark = followed.mark;
    fault = followed.fault ?? notedFault(noted, { begin, rows }) ?? (more ? undefined : (endFault(mark, head) ?? lostSince(noted, head)));
    if (fault || !more) return { fault, entries, begin, head };
  }
}

function notedFault(noted: Mark | undefined, { begin, rows }: { begin: Mark; rows: readonly AuditRow[] }): ChainFault | undefined {
  if (!noted || noted.seq === 0) return undefined;
  const { seq } = noted;
  if (seq < begin.seq) return { seq, message: `Entry ${seq} was put away after its time: compare it with the export` };
  const row = rows.find((each) => each.seq === seq);
  const hash = seq === begin.seq ? begin.hash : row && hashOf(row.line);
  return hash === undefined || hash === noted.hash ? undefined : { seq, message: `Entry ${seq} is not the one that was noted: the chain was made anew` };
}

function lostSince(noted: Mark | undefined, head: Mark): ChainFault | undefined {
  if (!noted || noted.seq <= head.seq) return undefined;
  return { seq: head.seq + 1, message: `Entries ${head.seq + 1} to ${noted.seq} were there when the head was noted, and are gone` };
}
