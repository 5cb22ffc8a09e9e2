/** docs/matrix.json, and the same as a table in docs/migration.md. Pure. */
import { cells, endsOf, nameOf, PARTIES, PHASES } from "./table.ts";
import type { Cell, Party } from "./table.ts";

export type Ran = { passed: boolean; end: string; seconds: number; commit: string; fault?: string };
/** By the cell's name. */
export type Matrix = Record<string, Ran>;

/** What keeps the matrix from being whole: a cell that never ran, or one that failed. */
export function missingOf(matrix: Matrix, wanted: readonly Cell[] = cells): string[] {
  return wanted.map(nameOf).filter((name) => !matrix[name]?.passed).map((name) => (matrix[name] ? `${name} failed: ${matrix[name].fault}` : `${name} was not run`));
}

/** In the table's order, so that a run changes only its own lines. */
export function sorted(matrix: Matrix): Matrix {
  return Object.fromEntries(cells.map(nameOf).filter((name) => matrix[name]).map((name) => [name, matrix[name]!]));
}

/** One line for each party and one column for each phase; in it what each fault came to. */
export function tableOf(matrix: Matrix): string {
  const phases = PHASES.filter((phase) => cells.some((cell) => cell.phase === phase));
  const lines = PARTIES.map((party) => `| ${party} | ${phases.map((phase) => phrase(matrix, party, phase)).join(" | ")} |`);
  return [`| Lost | ${phases.join(" | ")} |`, `| --- |${" --- |".repeat(phases.length)}`, ...lines].join("\n");
}

function phrase(matrix: Matrix, party: Party, phase: Cell["phase"]): string {
  const here = cells.filter((cell) => cell.party === party && cell.phase === phase);
  return here.map((cell) => `${cell.fault}: ${wordOf(matrix[nameOf(cell)], cell)}`).join("<br>") || "–";
}

function wordOf(ran: Ran | undefined, cell: Cell): string {
  if (!ran) return "not run";
  if (!ran.passed) return "**failed**";
  return endsOf(cell).restart ? `${ran.end}, booted again` : ran.end;
}
