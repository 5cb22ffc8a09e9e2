/**
 * How long what a migration waits for may take, in milliseconds. None of it ends what the source has said that it begins.
 * Pure.
 */
import { MigrationPhase } from "../../gen/drover/v1/migration.ts";

export const MIGRATION_BUDGETS = {
  schedulingMs: 30_000,
  preparingTargetMs: 30_000,
  targetReadyMs: 30_000,
  /** What the source is given to say that nothing is left with it. */
  tidyMs: 10_000,
  /** What another cache has not brought yet is no orphan. */
  orphanAfterMs: 5_000,
};
export type Budgets = Readonly<typeof MIGRATION_BUDGETS>;

const KEYS: Partial<Record<MigrationPhase, keyof Budgets>> = {
  [MigrationPhase.SCHEDULING]: "schedulingMs",
  [MigrationPhase.PREPARING_TARGET]: "preparingTargetMs",
  [MigrationPhase.TARGET_READY]: "targetReadyMs",
  [MigrationPhase.FINALIZING]: "tidyMs",
};

/** Infinity for a phase that has none. */
export function budgetMs(budgets: Budgets, phase: MigrationPhase): number {
  const key = KEYS[phase];
  return key ? budgets[key] : Infinity;
}
