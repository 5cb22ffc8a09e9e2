/**
 * Negative controls: one rule broken each, and the simulation has to notice. A mutant is a change of the source as it is
 * loaded, in a process that runs nothing else, so that nothing of it is in the programs themselves.
 */
import { registerHooks } from "node:module";

export type Patch = { file: string; from: string; to: string };

const PHASES = "controller/migration/phases.ts";
const OWNER_REPORT = "api-server/subresources/owner-report.ts";
const CLAIM = "api-server/subresources/claim.ts";
const DECIDE = "node-agent/machine/decide.ts";

export const MUTANTS = {
  "epoch-check-removed": [
    { file: OWNER_REPORT, from: "if (status.epoch !== epoch) no(", to: "if (status.epoch < 0) no(" },
    { file: OWNER_REPORT, from: "status.claim.epoch !== epoch) no(", to: "status.claim.epoch < 0) no(" },
  ],
  "deadline-from-reply": [
    { file: "controller/leader.ts", from: "this.#answeredAtMs = this.#sentAtMs.get(beat) ?? this.#answeredAtMs;", to: "this.#answeredAtMs = this.#leading.clock.monotonicMs();" },
  ],
  "start-without-claim": [
    { file: DECIDE, from: `? { do: "start" } : { do: "claim" };`, to: `? { do: "start" } : { do: "start" };` },
  ],
  "undo-after-switchover": [
    { file: PHASES, from: `{ when: ["abort-asked"], to: RUNNING },`, to: `{ when: ["cancelled"], move: "revoke", to: CANCELLED, reason: MigrationReason.CANCELLED },` },
  ],
  "domain-not-found-obeyed": [
    { file: PHASES, from: `{ when: ["source-left", "target-absent"],`, to: `{ when: ["source-left"],` },
  ],
  "status-out-of-order-accepted": [
    { file: OWNER_REPORT, from: "report.generation <= current.generation;", to: "report.generation < 0;" },
  ],
  "older-epoch-in-metadata-killed": [
    { file: DECIDE, from: `return { do: "repair-epoch", epoch: status.epoch };`, to: `return { do: "destroy", why: "its epoch is older" };` },
  ],
  "deadline-ends-a-migration-whose-call-is-out": [
    { file: PHASES, from: `{ when: ["abort-asked"], to: RUNNING },`, to: `{ when: ["late"], move: "revoke", to: FAILED, reason: MigrationReason.TRANSFER_FAILED },` },
    { file: "controller/migration/facts.ts", from: "elapsedMs(phase) >= budgetMs(budgets, phase),", to: "elapsedMs(phase) >= (phase === MigrationPhase.RUNNING ? 5_000 : budgetMs(budgets, phase))," },
  ],
  "volume-holder-skipped": [
    { file: CLAIM, from: "  requireVolumes(vmi, claiming.volumes);", to: "  void requireVolumes;" },
    { file: "controller/instance/decide.ts", from: `holderOf(volume, instance) === "other")`, to: `holderOf(volume, instance) === "other" && volume.metadata.name === "")` },
  ],
  "second-run-while-a-finalizer-stands": [
    { file: "controller/instance/decide.ts", from: "if (!instance.status.claim) return ReleaseReason.UNCLAIMED;", to: "if (instance) return ReleaseReason.UNCLAIMED;" },
    { file: "controller/instance/decide.ts", from: "return lastRun?.uid === instance.metadata.uid && lastEpoch >= instance.status.lastGrantedEpoch;", to: "return lastRun?.uid !== undefined || lastEpoch >= 0;" },
    { file: "api-server/subresources/release.ts", from: "  requireEvidence(vmi, releasing);", to: "  void requireEvidence;" },
  ],
} as const satisfies Record<string, readonly Patch[]>;

export type MutantName = keyof typeof MUTANTS;
export const isMutant = (name: string): name is MutantName => Object.hasOwn(MUTANTS, name);
/** A mutant that lives this long has survived. */
export const MUTANT_SEEDS_MAX = 200;

/** The seed that noticed it last time is tried first: the others only when a plan has changed. */
const NOTICED_BY: Partial<Record<MutantName, number>> = {
  "epoch-check-removed": 135, "deadline-from-reply": 6, "undo-after-switchover": 140, "domain-not-found-obeyed": 7, "deadline-ends-a-migration-whose-call-is-out": 11,
};

export function seedsFor(name: MutantName): number[] {
  const all = Array.from({ length: MUTANT_SEEDS_MAX }, (_, index) => index + 1);
  const first = NOTICED_BY[name];
  return first === undefined ? all : [first, ...all.filter((seed) => seed !== first)];
}

/** Before anything of the programs is imported. A patch that no longer fits is an error: the rule has moved, and its mutant has to follow. */
export function breakRule(name: MutantName): void {
  const patches: readonly Patch[] = MUTANTS[name];
  registerHooks({
    load(url, context, next) {
      const loaded = next(url, context);
      const mine = patches.filter(({ file }) => url.endsWith(`/${file}`));
      if (mine.length === 0) return loaded;
      let source = typeof loaded.source === "string" ? loaded.source : Buffer.from(loaded.source as Uint8Array).toString();
      for (const { file, from, to } of mine) {
        if (!source.includes(from)) throw new Error(`The mutant ${name} does not fit ${file} any more: it has no ${from}`);
        source = source.replace(from, () => to);
      }
      return { ...loaded, source };
    },
  });
}
