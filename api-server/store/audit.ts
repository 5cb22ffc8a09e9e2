/**
 * The audit's chain: each entry is one line of JSON that holds the SHA-256 of the line before it, so that whoever has one
 * line can tell whether those before it are what they were. Pure; every adapter of the store makes the same lines.
 */
import { createHash } from "node:crypto";
import type { Revision } from "./store.ts";

export type Decision = "allowed" | "denied" | "failed";

/** What a caller did or was refused. Never what was in the request. */
export type Act = {
  /** Wall time in milliseconds since 1970. */
  atMs: number;
  subject: string;
  role: string;
  source: string;
  rpc: string;
  object: { kind: string; namespace: string; name: string; uid: string };
  requestId: string;
  /** What the change was decided on; empty for a creation and where nothing changed. */
  before: Revision;
  decision: Decision;
  code: string;
  reason: string;
  /** Requests that it stands for. */
  count: number;
  /** Field paths of an update. */
  paths: readonly string[];
};
/** `hash` is that of the entry's line. */
export type Mark = { seq: number; hash: string };
export type AuditEntry = Act & { seq: number; after: Revision; previous: string; hash: string; line: string };
export type AuditRow = { seq: number; line: string };

/** Absent fields take all. An RPC may be named by its last part. */
export type AuditFilter = {
  subject?: string;
  rpc?: string;
  kind?: string;
  namespace?: string;
  name?: string;
  fromMs?: number;
  toMs?: number;
  decisions?: readonly Decision[];
};
/** After `after` the oldest first, or before `before` the newest first. */
export type AuditQuery = { filter?: AuditFilter; limit: number } & ({ after: number } | { before: number });
/** One look at the log. `begin` is the last entry that is no more; `reached` the last one looked at. */
export type AuditStretch = { rows: AuditRow[]; begin: Mark; head: Mark; reached: number; more: boolean };

/** Rows that one look goes through. */
export const STRETCH_ROWS_MAX = 5_000;
/** How far an entry's time may be off its place, such as when the wall clock was set. */
const DISORDER_MS = 3_600_000;

/** What would break a line, move a cursor or turn the reading order, and is not escaped by JSON itself. */
const UNSAFE = /[\u007F-\u009F\u200E\u200F\u2028-\u202E\u2066-\u2069]/g;
const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

export const hashOf = (line: string): string => createHash("sha256").update(line).digest("hex");

/** Before the first entry: no two stores begin alike. */
export const beginOf = (storeId: string): Mark => ({ seq: 0, hash: hashOf(`drover audit ${storeId}`) });

/** The next line of the chain. The order of its fields is part of the format. */
export function seal({ seq, hash: previous }: Mark, act: Act, after: Revision): AuditRow & { mark: Mark } {
  const { atMs, subject, role, source, rpc, object, requestId, before, decision, code, reason, count, paths } = act;
  const { kind, namespace, name, uid } = object;
  const entry = {
    seq: seq + 1, previous, time: new Date(atMs).toISOString(), subject, role, source, rpc, object: { kind, namespace, name, uid },
    requestId, before, after, decision, code, reason, count, paths,
  };
  const line = JSON.stringify(entry).replaceAll(UNSAFE, escaped);
  return { seq: seq + 1, line, mark: { seq: seq + 1, hash: hashOf(line) } };
}

/** Throws SyntaxError for a line that is none. */
export function entryOf(line: string): AuditEntry {
  const { time, ...entry } = JSON.parse(line) as Omit<AuditEntry, "atMs" | "hash" | "line"> & { time: string };
  return { ...entry, atMs: Date.parse(time), hash: hashOf(line), line };
}

export function matches({ atMs, subject, rpc, object, decision }: AuditEntry, filter: AuditFilter): boolean {
  const same = (wanted: string | undefined, is: string) => wanted === undefined || wanted === is;
  return same(filter.subject, subject) && (same(filter.rpc, rpc) || rpc.endsWith(`/${filter.rpc}`))
    && same(filter.kind, object.kind) && same(filter.namespace, object.namespace) && same(filter.name, object.name)
    && atMs >= (filter.fromMs ?? -Infinity) && atMs < (filter.toMs ?? Infinity)
    && (filter.decisions === undefined || filter.decisions.includes(decision));
}

/** Takes rows, as the query orders them, until there is enough or nothing more can match. */
export function lookThrough(rows: Iterable<AuditRow>, query: AuditQuery): Pick<AuditStretch, "rows" | "reached" | "more"> {
  const { filter, limit } = query;
  const found: AuditRow[] = [];
  let [reached, looked] = ["after" in query ? query.after : query.before, 0];
  for (const row of rows) {
    if (found.length >= limit || looked >= STRETCH_ROWS_MAX) return { rows: found, reached, more: true };
    reached = row.seq;
    looked += 1;
    const entry = filter && readable(row.line);
    if (entry && isBeyond(entry, query)) return { rows: found, reached, more: false };
    // A line that cannot be read is shown to whoever looks for anything.
    if (!filter || !entry || matches(entry, filter)) found.push(row);
  }
  return { rows: found, reached, more: false };
}

function readable(line: string): AuditEntry | undefined {
  try {
    return entryOf(line);
  } catch {
    return undefined;
  }
}

function isBeyond({ atMs }: AuditEntry, query: AuditQuery): boolean {
  const { fromMs = -Infinity, toMs = Infinity } = query.filter ?? {};
  return "before" in query ? atMs < fromMs - DISORDER_MS : atMs >= toMs + DISORDER_MS;
}

export type ChainFault = { seq: number; message: string };

/** Goes along the chain from a mark; stops at the first row that does not follow. */
export function follow(from: Mark, rows: readonly AuditRow[]): { mark: Mark; fault?: ChainFault } {
  let mark = from;
  for (const { seq, line } of rows) {
    const expected = mark.seq + 1;
    const fault = (message: string) => ({ mark, fault: { seq: expected, message } });
    if (seq !== expected) return fault(seq - 1 === expected ? `Entry ${expected} is missing` : `Entries ${expected} to ${seq - 1} are missing`);
    const entry = readable(line);
    if (entry?.seq !== seq) return fault(`Entry ${seq} is not the one that was written there`);
    if (entry.previous !== mark.hash) return fault(`Entry ${seq} does not follow from the one before it: one of the two was changed`);
    mark = { seq, hash: entry.hash };
  }
  return { mark };
}

/** Whether the chain ends where the store says that it does. */
export function endFault(mark: Mark, head: Mark): ChainFault | undefined {
  if (mark.seq < head.seq) return { seq: mark.seq + 1, message: `Entries ${mark.seq + 1} to ${head.seq} are missing at the end` };
  if (mark.seq > head.seq) return { seq: head.seq + 1, message: `Entry ${head.seq + 1} was put in behind the end` };
  return mark.hash === head.hash ? undefined : { seq: mark.seq, message: `Entry ${mark.seq} was changed, the newest` };
}
