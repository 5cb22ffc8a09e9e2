/** Whether a machine shall run: strategy, intent and how the last run ended, in one table. Pure. */
import { PowerIntent, RunOutcome, RunStrategy } from "../../gen/drover/v1/virtual_machine.ts";
import { isKnown } from "../known.ts";
import type { Machine } from "../objects.ts";

type Strategy = Exclude<RunStrategy, typeof RunStrategy.UNSPECIFIED | typeof RunStrategy.UNRECOGNIZED>;

/** After a run has ended under the present intent to run. */
const runsAgain = {
  [RunStrategy.ALWAYS]: () => true,
  [RunStrategy.RERUN_ON_FAILURE]: (outcome) => outcome === RunOutcome.FAILED,
  [RunStrategy.MANUAL]: () => false,
  /** Started by hand, it behaves as Always until it is stopped by hand. */
  [RunStrategy.HALTED]: () => true,
  [RunStrategy.ONCE]: () => false,
} as const satisfies Record<Strategy, (outcome: RunOutcome) => boolean>;

const isStrategy = (strategy: RunStrategy): strategy is Strategy => Object.hasOwn(runsAgain, strategy);

/** False for a strategy or an outcome that this version does not know: such a machine is left as it is. */
export function isUnderstood({ spec, status }: Machine): boolean {
  return isStrategy(spec.runStrategy) && isKnown(RunOutcome, status.lastRun?.outcome ?? 0) && isKnown(PowerIntent, status.power?.intent ?? 0);
}

export function shallRun({ metadata, spec, status }: Machine): boolean {
  const { power, lastRun } = status;
  if (metadata.deletionTimestamp || power?.intent !== PowerIntent.RUN) return false;
  if (!lastRun || lastRun.powerGeneration !== power.generation) return true;
  return isStrategy(spec.runStrategy) && runsAgain[spec.runStrategy](lastRun.outcome);
}
