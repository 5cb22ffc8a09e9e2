/** The audit in the file: what the writing thread appends in its transactions, and what the reading thread finds. */
import type { DatabaseSync } from "node:sqlite";
import { type Act, type AuditQuery, type AuditRow, type AuditStretch, lookThrough, type Mark, seal } from "./audit.ts";
import { DataLoss, type Revision } from "./store.ts";

/** Both ends of the chain are kept beside it, so that a loss at an end shows too. */
type End = "audit_begin" | "audit_head";

const SELECT_END = "SELECT value FROM meta WHERE name = ?";
const MARK = /^(\d+) ([0-9a-f]{64})$/;

export const formatMark = ({ seq, hash }: Mark): string => `${seq} ${hash}`;

export class AuditWriter {
  readonly #insert;
  readonly #remove;
  readonly #lineOf;
  readonly #setEnd;
  /** The newest entry, within the transaction too. */
  #head: Mark;
  #durable: Mark;

  constructor(database: DatabaseSync) {
    this.#insert = database.prepare("INSERT INTO audit (seq, line) VALUES (?, ?)");
    this.#remove = database.prepare("DELETE FROM audit WHERE seq <= ?");
    this.#lineOf = database.prepare("SELECT line FROM audit WHERE seq = ?");
    this.#setEnd = database.prepare("UPDATE meta SET value = ? WHERE name = ?");
    this.#head = this.#durable = readEnd(database, "audit_head");
  }

  append(act: Act, after: Revision): void {
    const { seq, line, mark } = seal(this.#head, act, after);
    this.#insert.run(seq, line);
    this.#head = mark;
  }

  /** The last statement of a transaction. */
  settle(): void {
    if (this.#head !== this.#durable) this.#setEnd.run(formatMark(this.#head), "audit_head" satisfies End);
  }

  committed(): void {
    this.#durable = this.#head;
  }

  rolledBack(): void {
    this.#head = this.#durable;
  }

  /** The chain goes on from the last one removed. */
  forget({ seq, hash }: Mark): void {
    if (this.#lineOf.get(seq) === undefined) return;
    this.#remove.run(seq);
    this.#setEnd.run(formatMark({ seq, hash }), "audit_begin" satisfies End);
  }
}

/** Call within one snapshot. */
export function auditReader(database: DatabaseSync): (query: AuditQuery) => AuditStretch {
  const up = database.prepare("SELECT seq, line FROM audit WHERE seq > ? ORDER BY seq");
  const down = database.prepare("SELECT seq, line FROM audit WHERE seq < ? ORDER BY seq DESC");
  return (query) => {
    const rows = "after" in query ? up.iterate(query.after) : down.iterate(query.before);
    const seen = lookThrough(rows as Iterable<AuditRow>, query);
    return { ...seen, begin: readEnd(database, "audit_begin"), head: readEnd(database, "audit_head") };
  };
}

function readEnd(database: DatabaseSync, end: End): Mark {
  const [, seq, hash] = MARK.exec(String(database.prepare(SELECT_END).get(end)?.["value"])) ?? [];
  if (seq === undefined || hash === undefined) throw new DataLoss(`The store does not say where the audit's chain ${end === "audit_head" ? "ends" : "begins"}`);
  return { seq: Number(seq), hash };
}
