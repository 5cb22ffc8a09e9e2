/** What a check found, and how a table of checks is asked. Pure. */
import { CheckReason, CheckVerdict } from "../../gen/drover/v1/preflight.ts";
import type { Check } from "../../gen/drover/v1/preflight.ts";

export type Finding = {
  /** Of the check: a word that never changes. */
  name: string;
  verdict: CheckVerdict.WARN | CheckVerdict.BLOCK;
  reason: CheckReason;
  /** The same text for every node with that fault, so that nodes can be counted by it. */
  why: string;
  /** With the names. */
  message: string;
  /** Only until others are done: whoever can queue may go there. */
  passing?: true;
};

/** What is wrong: a sentence alone stops the move, and the text of its row is the reason that operators read. */
export type Fault = string | { message: string; why?: string; verdict?: Finding["verdict"]; reason?: CheckReason } | undefined;

export type Row<I> = { name: string; reason: CheckReason; passing?: true; fault: (input: I) => Fault };
/** By the reason that an operator reads, in the order in which one would look. */
export type Table<I> = Record<string, Row<I>>;

export function* findingsOf<I>(table: Table<I>, input: I): Generator<Finding> {
  for (const why in table) {
    const row = table[why]!;
    const fault = row.fault(input);
    if (fault === undefined) continue;
    const { name, reason, passing } = row;
    const said = typeof fault === "string" ? { message: fault } : fault;
    yield { name, verdict: CheckVerdict.BLOCK, reason, why, ...said, ...(passing && { passing }) };
  }
}

export const blocks = ({ verdict }: Pick<Finding, "verdict">): boolean => verdict === CheckVerdict.BLOCK;

/** Every check of the tables by name: what it found, or that it passed. */
export function checksOf(tables: readonly Table<never>[], findings: readonly Finding[]): Check[] {
  const names = new Set(tables.flatMap((table) => Object.values(table).map(({ name }) => name)));
  return [...names].flatMap((name): Check[] => {
    const found = findings.filter((finding) => finding.name === name);
    if (found.length === 0) return [{ name, verdict: CheckVerdict.PASS, reason: CheckReason.UNSPECIFIED, message: "" }];
    return found.map(({ verdict, reason, message }) => ({ name, verdict, reason, message }));
  });
}
