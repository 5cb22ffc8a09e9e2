/** What of the space of faults was met: every harm of every party in every phase of a migration, and every failpoint. */
import { CELLS, FAILPOINT_NAMES, PHASES } from "../plan/plan.ts";
import type { Result } from "../simulate.ts";

/** The target has no QEMU before the guest's memory is on its way. */
const IMPOSSIBLE: ReadonlySet<string> = new Set(["preparing target-qemu crash", "ready target-qemu crash"]);

export const ALL_CELLS: readonly string[] = PHASES.flatMap((phase) =>
  Object.entries(CELLS).flatMap(([party, harms]) => harms.map((harm) => `${phase} ${party} ${harm}`))).filter((cell) => !IMPOSSIBLE.has(cell));

export class Coverage {
  readonly #cells = new Map<string, number>();
  readonly #failpoints = new Map<string, number>();

  add({ cells, failpoints }: Pick<Result, "cells" | "failpoints">): void {
    for (const [name, hits] of Object.entries(cells)) this.#cells.set(name, (this.#cells.get(name) ?? 0) + hits);
    for (const [name, hits] of Object.entries(failpoints)) this.#failpoints.set(name, (this.#failpoints.get(name) ?? 0) + hits);
  }

  get missing(): string[] {
    return [...ALL_CELLS.filter((cell) => !this.#cells.has(cell)), ...FAILPOINT_NAMES.filter((point) => !this.#failpoints.has(point))];
  }

  summary(): string {
    const met = ALL_CELLS.filter((cell) => this.#cells.has(cell));
    const struck = FAILPOINT_NAMES.filter((point) => this.#failpoints.has(point));
    const least = Math.min(...met.map((cell) => this.#cells.get(cell)!));
    return `${met.length} of ${ALL_CELLS.length} cells (phase × party × harm) met${met.length > 0 ? `, each at least ${least} times` : ""}; ${struck.length} of ${FAILPOINT_NAMES.length} failpoints struck`;
  }
}
