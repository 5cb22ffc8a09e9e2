/** What the run and its worker processes say to each other. */
import type { MutantName } from "../mutants.ts";
import type { Result } from "../simulate.ts";

export type Order = { do: "seed"; seed: number } | { do: "shrink"; seed: number; invariant: string };
export type Outcome = Omit<Result, "lines"> & { cpuMs: number };
export type Word =
  | { word: "ready"; mutant: MutantName | undefined }
  | { word: "outcome"; outcome: Outcome }
  | { word: "story"; seed: number; steps: string[]; lines: string[]; message: string };
