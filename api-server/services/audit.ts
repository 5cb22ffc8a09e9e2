/** Reads the audit. There is no way to write it. */
import { AuditDecision, AuditEntry, type AuditFilter as AskedFilter, type AuditServiceImplementation, type ExportAuditEntriesRequest, ExportAuditEntriesResponse, type VerifyAuditResponse } from "../../gen/drover/v1/audit.ts";
import type { Recorder } from "../audit/recorder.ts";
import { verifyAudit } from "../audit/verify.ts";
import type { WithCall } from "../objects.ts";
import { type AuditFilter, type AuditRow, type Decision, entryOf } from "../store/audit.ts";
import type { Store } from "../store/store.ts";

const PAGE_SIZE = 100;
const EXPORT_ENTRIES_MAX = 500;
/** Stretches of the log that one page looks through. */
const LOOKS_MAX = 4;

const DECISIONS: Record<Decision, AuditDecision> = { allowed: AuditDecision.ALLOWED, denied: AuditDecision.DENIED, failed: AuditDecision.FAILED };

export type AuditParts = { store: Pick<Store, "audit">; recorder: Pick<Recorder, "flushed"> };

export function auditService({ store, recorder }: AuditParts): AuditServiceImplementation<WithCall> {
  return {
    async listAuditEntries({ filter, pageSize, pageToken }) {
      await recorder.flushed();
      const limit = pageSize || PAGE_SIZE;
      const rows: AuditRow[] = [];
      let [before, more] = [pageToken === "" ? Number.MAX_SAFE_INTEGER : Number(pageToken), true];
      for (let look = 0; look < LOOKS_MAX && rows.length < limit && more; look += 1) {
        const stretch = await store.audit({ before, limit: limit - rows.length, ...filterOf(filter) });
        rows.push(...stretch.rows);
        ({ reached: before, more } = stretch);
      }
      return { auditEntries: rows.map(messageOf), nextPageToken: more ? String(before) : "" };
    },

    exportAuditEntries: (request, { signal }) => exported({ store, recorder }, request, signal),

    async verifyAudit({ noted }, { signal }): Promise<VerifyAuditResponse> {
      await recorder.flushed();
      const { fault, entries, begin, head } = await verifyAudit(store, { noted, signal });
      return { intact: fault === undefined, fault: fault?.message ?? "", faultSeq: fault?.seq ?? 0, entries, begin, head };
    },
  };
}

async function* exported({ store, recorder }: AuditParts, { filter, afterSeq }: ExportAuditEntriesRequest, signal: AbortSignal): AsyncGenerator<ExportAuditEntriesResponse> {
  await recorder.flushed();
  const { head } = await store.audit({ after: afterSeq, limit: 0 });
  yield ExportAuditEntriesResponse.create();
  for (let [after, more] = [afterSeq, true]; more && after < head.seq; ) {
    signal.throwIfAborted();
    const stretch = await store.audit({ after, limit: EXPORT_ENTRIES_MAX, ...filterOf(filter) });
    const rows = stretch.rows.filter(({ seq }) => seq <= head.seq);
    if (rows.length > 0) yield { auditEntries: rows.map(messageOf) };
    ({ reached: after, more } = stretch);
  }
}

function filterOf(asked: AskedFilter | undefined): { filter?: AuditFilter } {
  if (!asked) return {};
  const { subject, rpc, objectKind, objectNamespace, objectName, fromTime, toTime, decisions } = asked;
  const wanted = Object.entries(DECISIONS).filter(([, decision]) => decisions.includes(decision)).map(([name]) => name as Decision);
  return {
    filter: {
      ...(subject && { subject }), ...(rpc && { rpc }), ...(objectKind && { kind: objectKind }), ...(objectNamespace && { namespace: objectNamespace }),
      ...(objectName && { name: objectName }), ...(fromTime && { fromMs: fromTime.getTime() }), ...(toTime && { toMs: toTime.getTime() }),
      ...(wanted.length > 0 && { decisions: wanted }),
    },
  };
}

/** A line that was made unreadable is shown as it is. */
function messageOf({ seq, line }: AuditRow): AuditEntry {
  try {
    const { atMs, object, before, after, previous, decision, ...entry } = entryOf(line);
    return {
      ...entry, time: new Date(atMs), objectKind: object.kind, objectNamespace: object.namespace, objectName: object.name, objectUid: object.uid,
      beforeRevision: before, afterRevision: after, previousHash: previous, decision: DECISIONS[decision], paths: [...entry.paths],
    };
  } catch {
    return { ...AuditEntry.create(), seq, line };
  }
}
