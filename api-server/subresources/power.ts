/**
 * Start, stop and restart: what each verb makes of the power intent. The run strategy stays the user's; the controller
 * runs what strategy, intent and the last run's outcome say together.
 */
import { PowerIntent, PowerState, RunOutcome, RunStrategy, VirtualMachineStatus } from "../../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { InvalidArgument } from "../../lib/errors.ts";
import { isFinal } from "./phase.ts";
import { refuse, VM } from "./refusal.ts";

/** `instance` is the machine's present run, whatever its state. */
export type PowerVerb = { requestId: string; now: Date; instance: VirtualMachineInstance | undefined };
export type Ending = { gracePeriodSeconds?: number | undefined; force: boolean };

const DEFAULT_GRACE_SECONDS = 30;

/** Starting a machine that shall run answers it as it stands, unless its strategy has left it off after its last run. */
export function start(vm: VirtualMachine, verb: PowerVerb): VirtualMachine | undefined {
  refuseDeleted(vm, "start");
  if (powerOf(vm).intent === PowerIntent.RUN && !leftOff(vm, verb.instance)) return undefined;
  return withPower(vm, verb, { intent: PowerIntent.RUN, ending: { force: false } });
}

/** Stopping twice answers the machine as it stands; only a shorter grace period or force says something new. */
export function stop(vm: VirtualMachine, verb: PowerVerb & Ending): VirtualMachine | undefined {
  refuseDeleted(vm, "stop");
  checkEnding(verb);
  if (powerOf(vm).intent === PowerIntent.STOP && !hurries(vm, verb)) return undefined;
  return withPower(vm, verb, { intent: PowerIntent.STOP, ending: verb });
}

/** The uid of the run that ends stands in the record, so that a repeat never ends the next one. */
export function restart(vm: VirtualMachine, verb: PowerVerb & Ending): VirtualMachine | undefined {
  refuseDeleted(vm, "restart");
  checkEnding(verb);
  const { intent, restartUid } = powerOf(vm);
  const run = liveRun(vm, verb.instance);
  if (!run) refuse("NOT_RUNNING", { plural: VM, object: vm }, `Cannot restart "${vm.metadata!.name}": it has no run`);
  const uid = run.metadata!.uid;
  const pending = intent === PowerIntent.RUN && restartUid === uid;
  if (pending && !hurries(vm, verb)) return undefined;
  if (!pending && run.metadata!.deletionTimestamp) {
    refuse("NOT_RUNNING", { plural: VM, object: vm }, `Cannot restart "${vm.metadata!.name}": its run is ending; start it instead`);
  }
  return withPower(vm, verb, { intent: PowerIntent.RUN, ending: verb, restartUid: uid });
}

export const powerOf = (vm: VirtualMachine): PowerState => vm.status?.power ?? PowerState.create();

function refuseDeleted(vm: VirtualMachine, verb: string): void {
  if (!vm.metadata?.deletionTimestamp) return;
  refuse("DELETING", { plural: VM, object: vm }, `Cannot ${verb} "${vm.metadata.name}": it is being deleted`);
}

function checkEnding({ gracePeriodSeconds = 0, force }: Ending): void {
  if (!force || gracePeriodSeconds === 0) return;
  const message = `must be absent or 0 together with force: current value is ${gracePeriodSeconds}`;
  throw new InvalidArgument([{ path: "grace_period_seconds", message }]);
}

/** A run of this very machine; an instance that somebody else made under its name is none. */
export function runOf(vm: VirtualMachine, instance: VirtualMachineInstance | undefined): VirtualMachineInstance | undefined {
  const owned = instance?.metadata?.ownerReferences.some(({ uid }) => uid === vm.metadata?.uid);
  return owned ? instance : undefined;
}

function liveRun(vm: VirtualMachine, instance: VirtualMachineInstance | undefined): VirtualMachineInstance | undefined {
  const run = runOf(vm, instance);
  return run && !isFinal(run.status?.phase ?? Phase.UNSPECIFIED) ? run : undefined;
}

type EndedRun = { outcome: RunOutcome; generation: number };

/** The last run if it has ended or is ending: read from the run itself while the controller has yet to write it down. */
function endedRun(vm: VirtualMachine, instance: VirtualMachineInstance | undefined): EndedRun | undefined {
  const run = runOf(vm, instance);
  if (!run) return vm.status?.lastRun && { outcome: vm.status.lastRun.outcome, generation: vm.status.lastRun.powerGeneration };
  const generation = run.status?.powerGeneration ?? 0;
  if (run.status?.phase === Phase.FAILED) return { outcome: RunOutcome.FAILED, generation };
  if (run.status?.phase === Phase.SUCCEEDED) return { outcome: RunOutcome.SUCCEEDED, generation };
  return run.metadata?.deletionTimestamp ? { outcome: RunOutcome.STOPPED, generation } : undefined;
}

/** Whether the present intent has had its run, and the strategy begins no other by itself. */
export function leftOff(vm: VirtualMachine, instance: VirtualMachineInstance | undefined): boolean {
  const ended = endedRun(vm, instance);
  if (!ended || ended.generation < powerOf(vm).generation) return false;
  const strategy = vm.spec?.runStrategy;
  if (strategy === RunStrategy.RERUN_ON_FAILURE) return ended.outcome !== RunOutcome.FAILED;
  return strategy === RunStrategy.MANUAL || strategy === RunStrategy.ONCE;
}

function hurries(vm: VirtualMachine, { gracePeriodSeconds, force }: Ending): boolean {
  const power = powerOf(vm);
  if (power.force) return false;
  if (force) return true;
  const own = vm.spec?.template?.spec?.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS;
  return gracePeriodSeconds !== undefined && gracePeriodSeconds < (power.gracePeriodSeconds ?? own);
}

type NewPower = { intent: PowerIntent; ending: Ending; restartUid?: string };

function withPower(vm: VirtualMachine, { requestId, now }: PowerVerb, { intent, ending, restartUid = "" }: NewPower): VirtualMachine {
  const { force, gracePeriodSeconds } = ending;
  const generation = powerOf(vm).generation + 1;
  const grace = force ? 0 : gracePeriodSeconds;
  const power = { ...powerOf(vm), intent, generation, requestId, since: now, force, gracePeriodSeconds: grace, restartUid };
  return { ...vm, status: { ...(vm.status ?? VirtualMachineStatus.create()), power } };
}
