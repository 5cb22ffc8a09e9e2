/** What a wait makes of a machine's state. Pure: one record in, one verdict out. */
import { PowerIntent, PrintableStatus, RunOutcome, RunStrategy } from "../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachine } from "../gen/drover/v1/virtual_machine.ts";
import type { Verdict } from "./wait.ts";

const DONE: Verdict = { done: true };
/** Strategies under which a run that ended is not followed by another. */
const NOT_AGAIN: readonly number[] = [RunStrategy.MANUAL, RunStrategy.ONCE];

/** `unlike` is the uid of a run that does not count, because it is the one that a restart ends. */
export function running(unlike = ""): (vm: VirtualMachine | undefined) => Verdict {
  return (vm) => {
    if (!vm) return { failed: "it does not exist" };
    const { status, spec, metadata } = vm;
    if (metadata?.deletionTimestamp) return { failed: "it is being deleted" };
    if (status?.ready && status.instanceUid !== unlike && status.printableStatus !== PrintableStatus.STOPPING) return DONE;
    if (status?.power?.intent === PowerIntent.STOP) return { failed: "it was told to stop" };
    if (status?.printableStatus === PrintableStatus.CRASH_LOOP_BACK_OFF) return { failed: ended(vm) };
    const last = status?.lastRun;
    const over = last !== undefined && last.uid !== unlike && last.powerGeneration === status?.power?.generation && !status.created;
    return over && NOT_AGAIN.includes(spec?.runStrategy ?? 0) ? { failed: ended(vm) } : undefined;
  };
}

function ended({ status }: VirtualMachine): string {
  const { outcome, message = "" } = status?.lastRun ?? {};
  const how = outcome === RunOutcome.FAILED ? "its run failed" : "its run ended";
  const failures = status?.startFailure?.consecutiveFailCount ?? 0;
  return `${how}${message === "" ? "" : `: ${message}`}${failures > 1 ? ` (${failures} times in a row)` : ""}`;
}

/** The controller may not have seen the verb yet: that no run is created counts only once the state says so. */
export function stopped(vm: VirtualMachine | undefined): Verdict {
  if (!vm) return DONE;
  const { status } = vm;
  if (status?.power?.intent === PowerIntent.RUN) return { failed: "it was started again" };
  return !status?.created && status?.nodeName === "" ? DONE : undefined;
}

export function gone(uid: string): (object: { metadata: { uid: string } | undefined } | undefined) => Verdict {
  return (object) => (!object || object.metadata?.uid !== uid ? DONE : undefined);
}
