/** What of the space of faults was met: every harm of every party in every phase of a migration, and every failpoint. */
import { ALL_CELLS, ALL_FAILPOINTS, nameOf } from "../plan/cells.ts";
import type { Result } from "../simulate.ts";

const CELLS = ALL_CELLS.map(nameOf);
const FAILPOINTS = ALL_FAILPOINTS.map(({ point }) => point);

export class Coverage {
  readonly #cells = new Map<string, number>();
  readonly #failpoints = new Map<string, number>();

  add({ cells, failpoints }: Pick<Result, "cells" | "failpoints">): void {
    for (const [name, hits] of Object.entries(cells)) this.#cells.set(name, (this.#cells.get(name) ?? 0) + hits);
    for (const [name, hits] of Object.entries(failpoints)) this.#failpoints.set(name, (this.#failpoints.get(name) ?? 0) + hits);
  }

  get missing(): string[] {
    return [...CELLS.filter((cell) => !this.#cells.has(cell)), ...FAILPOINTS.filter((point) => !this.#failpoints.has(point))];
  }

  summary(): string {
    const met = CELLS.filter((cell) => this.#cells.has(cell));
    const struck = FAILPOINTS.filter((point) => this.#failpoints.has(point));
    const least = Math.min(...met.map((cell) => this.#cells.get(cell)!));
    return `${met.length} of ${CELLS.length} cells (phase × party × harm) met${met.length > 0 ? `, each at least ${least} times` : ""}; ${struck.length} of ${FAILPOINTS.length} failpoints struck`;
  }
}
