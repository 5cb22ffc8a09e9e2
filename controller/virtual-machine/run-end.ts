/**
 * The record of a run that is over. It is written before the instance may go, so that no later run begins at an epoch that
 * an earlier one was ever granted. Pure.
 */
import { LastRun, RunOutcome, RunStrategy } from "../../gen/drover/v1/virtual_machine.ts";
import type { StartFailure, VirtualMachineStatus } from "../../gen/drover/v1/virtual_machine.ts";
import { Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { isGone } from "../../lib/capacity.ts";
import { isStoppedByDrain } from "../drain/mark.ts";
import type { Instance, Machine } from "../objects.ts";

/** A run that ended sooner than this after it began counts as a failure to start. */
export const STEADY_AFTER_MS = 60_000;
const STEP_SECONDS = 10;
const LONGEST_SECONDS = 300;

export const isFinal = ({ status }: Instance): boolean => status.phase === Phase.SUCCEEDED || status.phase === Phase.FAILED;

/** Nothing of the run can be alive, or come alive. An agent's claim is refused once the deletion is recorded. */
export function isOver(instance: Instance, { fenced }: { fenced: boolean }): boolean {
  if (isFinal(instance)) return true;
  const { metadata, status } = instance;
  if (!metadata.deletionTimestamp || status.migration) return false;
  return status.claim === undefined || isGone(instance) || fenced;
}

/** Milliseconds before attempt n+1: 10·n² s, at most 300 s, and up to half as much again. */
export function retryAfterMs(failures: number, fraction: number): number {
  const seconds = Math.min(LONGEST_SECONDS, STEP_SECONDS * failures ** 2);
  return Math.round(seconds * (1 + fraction / 2) * 1000);
}

export type Ended = {
  machine: Machine;
  instance: Instance;
  /** Its node is confirmed fenced. */
  fenced: boolean;
  /** How long the guest has run, as far as this controller saw. */
  ranMs: number;
  fraction: () => number;
  now: Date;
};

/** The same status when all is recorded already. */
export function recordEnd(ended: Ended): VirtualMachineStatus {
  const { instance } = ended;
  const { status } = ended.machine;
  const lastEpoch = Math.max(status.lastEpoch, instance.status.lastGrantedEpoch);
  if (status.lastRun?.uid === instance.metadata.uid) return lastEpoch === status.lastEpoch ? status : { ...status, lastEpoch };
  const lastRun = lastRunOf(ended);
  return { ...status, lastEpoch, lastRun, startFailure: startFailureOf(ended, lastRun.outcome) };
}

function lastRunOf({ machine, instance, fenced, now }: Ended): LastRun {
  const { status, metadata } = instance;
  // A run that a fence took away does not count against the intent under which it began, except where one run is all.
  const counts = !fenced || machine.spec.runStrategy === RunStrategy.ONCE;
  // Nor does one that a drain ended, where the strategy asks how the run ended: it is to go on elsewhere.
  const drained = isStoppedByDrain(instance) && machine.spec.runStrategy === RunStrategy.RERUN_ON_FAILURE;
  return LastRun.create({
    uid: metadata.uid,
    outcome: outcomeOf(instance, fenced),
    message: fenced ? `node ${status.nodeName} was confirmed fenced` : status.message || status.ownerReport?.message || status.reason,
    powerGeneration: counts && !drained ? status.powerGeneration : 0,
    reachedRunning: status.reachedRunning,
    ended: now,
  });
}

/** A run that was told to stop has stopped, whatever the guest said last. */
function outcomeOf({ metadata, status }: Instance, fenced: boolean): RunOutcome {
  if (fenced) return RunOutcome.FAILED;
  if (metadata.deletionTimestamp) return RunOutcome.STOPPED;
  return status.phase === Phase.SUCCEEDED ? RunOutcome.SUCCEEDED : RunOutcome.FAILED;
}

function startFailureOf({ machine, instance, fenced, ranMs, fraction }: Ended, outcome: RunOutcome): StartFailure | undefined {
  const early = !instance.status.reachedRunning || ranMs < STEADY_AFTER_MS;
  if (fenced || outcome !== RunOutcome.FAILED || !early) return undefined;
  const { startFailure, lastRun } = machine.status;
  const sameIntent = lastRun?.powerGeneration === instance.status.powerGeneration;
  const failures = (sameIntent ? (startFailure?.consecutiveFailCount ?? 0) : 0) + 1;
  return { consecutiveFailCount: failures, lastFailedUid: instance.metadata.uid, retryAfterMs: retryAfterMs(failures, fraction()) };
}
