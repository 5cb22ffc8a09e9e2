/**
 * When those who wait may begin: the queue played forward with what is known of how long each takes. Where that is not
 * known of one who stands in the way, nothing is said of those behind it. Pure.
 */
import { MigrationPhase } from "../../gen/drover/v1/migration.ts";
import type { Migration } from "../objects.ts";
import { places } from "./queue.ts";
import type { Limits, Use, Waiting } from "./queue.ts";

/** Starts that are looked ahead for: further back an estimate means little, and costs. */
const AHEAD_MAX = 64;

/** `leftMs`: until it ends; undefined when nobody can tell. */
export type Moving = Use & { leftMs: number | undefined };
export type Next = Waiting & { durationMs: number | undefined };

/** Milliseconds from now until each begins, by uid; without those that cannot be told. */
export function expectedStarts(waiting: readonly Next[], { moving, limits }: { moving: readonly Moving[]; limits: Limits }): Map<string, number> {
  const starts = new Map<string, number>();
  let under = moving.map((one) => ({ ...one, endMs: one.leftMs ?? Infinity }));
  let left = waiting;
  for (let nowMs = 0; starts.size < AHEAD_MAX; nowMs = Math.min(...under.map(({ endMs }) => endMs))) {
    if (left.length === 0 || nowMs === Infinity) break;
    under = under.filter(({ endMs }) => endMs > nowMs);
    const turn = places(left, { moving: under, limits });
    const begin = left.filter(({ migration }) => turn.get(migration.metadata.uid)!.place === 0);
    for (const one of begin) {
      starts.set(one.migration.metadata.uid, nowMs);
      under.push({ ...one, leftMs: one.durationMs, endMs: nowMs + (one.durationMs ?? Infinity) });
    }
    left = left.filter((one) => !begin.includes(one));
    if (under.length === 0) break;
  }
  return starts;
}

const KEPT = 20;

/** How long the latest migrations took from their admission to their end, for those of which nothing better is known. */
export class Durations {
  readonly #lastMs: number[] = [];

  learn(migration: Migration): void {
    const began = timeOf(migration, MigrationPhase.PREPARING_TARGET);
    const ended = timeOf(migration, MigrationPhase.SUCCEEDED);
    if (began === undefined || ended === undefined) return;
    this.#lastMs.push(ended - began);
    if (this.#lastMs.length > KEPT) this.#lastMs.shift();
  }

  /** The middle one; undefined before the first. */
  get typicalMs(): number | undefined {
    return this.#lastMs.toSorted((a, b) => a - b)[Math.floor(this.#lastMs.length / 2)];
  }
}

/** Until it ends, if it takes what is expected; undefined when it has taken longer already. */
export function leftMs(migration: Migration | undefined, { durationMs, nowMs }: { durationMs: number | undefined; nowMs: number }): number | undefined {
  const began = migration && timeOf(migration, MigrationPhase.PREPARING_TARGET);
  if (durationMs === undefined) return undefined;
  const left = durationMs - (began === undefined ? 0 : nowMs - began);
  return left > 0 ? left : undefined;
}

function timeOf({ status }: Migration, phase: MigrationPhase): number | undefined {
  return status.transitions.find((transition) => transition.phase === phase)?.time?.getTime();
}
