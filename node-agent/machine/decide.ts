/**
 * What a machine's driver does next: one pure function from an observation to one action. The driver acts, observes
 * again and asks again, so each case needs to be right only for what is there now.
 */
import { AssignmentRole } from "../../gen/drover/agent/v1/agent.ts";
import { DomainState, Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance, VirtualMachineInstanceStatus } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { decideSource } from "../migration/source.ts";
import type { SourceAction } from "../migration/source.ts";
import { decideTarget } from "../migration/target.ts";
import type { TargetAction } from "../migration/target.ts";
import { killVerdict } from "./kill-rule.ts";
import { active, halved, machineUid, ownDomain, sameBoot } from "./observed.ts";
import type { Ending, Observed, OwnerWord, Seen } from "./observed.ts";
import { ownerWord, sameWord } from "./phase.ts";

export type Action =
  /** Nothing until something changes, or until `recheckMs` have passed. */
  | { do: "wait"; recheckMs?: number }
  | { do: "claim" }
  /** Make disks, define, start. Ends in an ending when it cannot be done. */
  | { do: "start" }
  | { do: "report"; word: OwnerWord }
  | { do: "ask-shutdown" }
  | { do: "destroy"; why: string }
  /** Keep how it ended, undefine, remove the run's files, say GONE. */
  | { do: "finish"; ending: Ending }
  | { do: "repair-epoch"; epoch: number }
  | { do: "look-up" }
  | { do: "leave-foreign" }
  /** Destroy and undefine a domain that the control plane has given up or moved. */
  | { do: "remove-stray" }
  /** Nothing of it is left and no record concerns this node: remove its files and drop the driver. */
  | { do: "forget" }
  | SourceAction
  | TargetAction;

export const SHUTDOWN_REPEAT_MS = 5_000;
const BUSY_RECHECK_MS = 1_000;
const STRAY_RECHECK_MS = 30_000;
const OTHER_RUN_RECHECK_MS = 2_000;
const DEFAULT_GRACE_SECONDS = 30;

const wait = (recheckMs?: number): Action => (recheckMs === undefined ? { do: "wait" } : { do: "wait", recheckMs });

/** What was refused is not said again before the record has changed. */
export function decide(observed: Observed): Action {
  const action = next(observed);
  const isWord = action.do === "claim" || action.do === "report" || action.do === "say-source" || action.do === "offer-disks" || action.do === "say-target";
  return isWord && refused(observed) ? wait() : action;
}

function next(observed: Observed): Action {
  const { assignment, hold } = observed;
  if (hold) return wait();
  const instance = assignment?.instance;
  if (!instance?.status) return decideUnassigned(observed);
  const act = byRole[assignment!.role];
  return act ? act(observed, instance) : decideUnassigned(observed);
}

/** A role that this version does not know gives the node nothing to do, and nothing to destroy without a look-up. */
const byRole: Partial<Record<AssignmentRole, (observed: Observed, instance: VirtualMachineInstance) => Action>> = {
  [AssignmentRole.OWNER]: (observed, instance) => {
    const { migration } = instance.status!;
    return migration && !migration.handedOff ? decideSource(observed, instance) : decideOwner(observed, instance);
  },
  [AssignmentRole.OUTGOING]: decideSource,
  [AssignmentRole.INCOMING]: decideTarget,
};

/** A domain without a record here, or what is left after one. */
function decideUnassigned({ domain, memory, synced, lookup, self }: Observed): Action {
  if (!synced || memory.source?.call === "outstanding") return wait(BUSY_RECHECK_MS);
  if (!domain) return { do: "forget" };
  if (!domain.identity) return { do: "leave-foreign" };
  if (!lookup) return { do: "look-up" };
  switch (killVerdict({ identity: domain.identity, lookup, nodeName: self.nodeName })) {
    case "destroy":
      return { do: "remove-stray" };
    case "leave":
      return { do: "leave-foreign" };
    case "keep":
      // The assignment is on its way; the epoch is put right when it is here.
      return wait(STRAY_RECHECK_MS);
  }
}

function decideOwner(observed: Observed, instance: VirtualMachineInstance): Action {
  const { domain, memory } = observed;
  const status = instance.status!;
  const own = ownDomain(domain, instance);
  if (memory.ended) return ended(observed, own, memory.ended);
  if (status.ownerReport?.state === DomainState.GONE) return own ? finish(instance, "lost", "") : wait();
  // A migration is closed over a half only when the other one is lost for certain. A half that was left never runs.
  if (own?.state === "paused" && halved(own) && !status.migration) return { do: "destroy", why: "the other half of its guest is lost" };
  if (own && active(own)) return running(observed, instance, own);
  if (own?.state === "crashed") return { do: "destroy", why: "its guest crashed" };
  if (own) return stopped(observed, instance, own);
  return absent(observed, instance);
}

function ended(observed: Observed, own: Seen | undefined, ending: Ending): Action {
  const { memory, assignment } = observed;
  if (own && active(own)) return { do: "destroy", why: "its run has ended" };
  const told = memory.reported?.state === DomainState.GONE || assignment?.instance?.status?.ownerReport?.state === DomainState.GONE;
  if (!own && (told || refused(observed))) return wait();
  return { do: "finish", ending };
}

/** The guest runs, or is paused. */
function running(observed: Observed, instance: VirtualMachineInstance, own: Seen): Action {
  const { memory } = observed;
  const status = instance.status!;
  if (own.identity!.epoch < status.epoch) return { do: "repair-epoch", epoch: status.epoch };
  const deleting = instance.metadata!.deletionTimestamp !== undefined;
  const word = ownerWord(own);
  const known = memory.reported ?? status.ownerReport;
  // A guest that is already being stopped is not worth a report of its own, unless the record has never seen it run.
  if (word && word.state !== DomainState.SHUTTING_DOWN && !(deleting && (status.reachedRunning || refused(observed)))) {
    if (!known || !sameWord(known, word)) return { do: "report", word };
  }
  return deleting ? stopping(observed, instance) : wait(word ? undefined : BUSY_RECHECK_MS);
}

/** Asks again every few seconds, since a guest that is still booting does not hear the first one; then pulls the plug. */
function stopping({ memory, nowMs }: Observed, instance: VirtualMachineInstance): Action {
  const graceMs = graceSeconds(instance) * 1_000;
  const sinceMs = memory.stop?.sinceMs ?? nowMs;
  const leftMs = sinceMs + graceMs - nowMs;
  if (leftMs <= 0) return { do: "destroy", why: graceMs === 0 ? "it shall stop at once" : "its grace period is over" };
  const askedMs = memory.stop?.askedMs;
  if (askedMs === undefined || nowMs - askedMs >= SHUTDOWN_REPEAT_MS) return { do: "ask-shutdown" };
  return wait(Math.min(leftMs, askedMs + SHUTDOWN_REPEAT_MS - nowMs));
}

export function graceSeconds({ metadata, spec }: VirtualMachineInstance): number {
  return metadata?.deletionGracePeriodSeconds ?? spec?.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS;
}

/** Defined, but no guest: it ended, or an agent died between defining and starting it. */
function stopped(observed: Observed, instance: VirtualMachineInstance, own: Seen): Action {
  const status = instance.status!;
  const neverStarted = own.reason === "unknown" && !status.reachedRunning && !observed.memory.started;
  if (!neverStarted) return finish(instance, own.reason === "unknown" ? "lost" : own.reason, "");
  return begin(observed, instance);
}

/** No domain of this run. */
function absent(observed: Observed, instance: VirtualMachineInstance): Action {
  const { domain } = observed;
  const status = instance.status!;
  if (status.reachedRunning || observed.memory.started) {
    return finish(instance, "lost", "The guest ran here, and no domain of it is left");
  }
  // An earlier run of the same machine goes first, by the kill rule.
  if (domain?.identity && domain.identity.vmUid === machineUid(instance) && !instance.metadata!.deletionTimestamp) {
    return wait(OTHER_RUN_RECHECK_MS);
  }
  return begin(observed, instance);
}

/** Claim, then start: never the second without the first, and neither for a machine that shall go. */
function begin({ self }: Observed, instance: VirtualMachineInstance): Action {
  const status = instance.status!;
  const claimed = status.claim?.epoch === status.epoch && status.claim.nodeName === self.nodeName;
  if (instance.metadata!.deletionTimestamp) return claimed ? finish(instance, "not-started", "It was stopped before it started") : wait();
  if (finalPhase(status)) return wait();
  return claimed && sameBoot(status.claim?.boot, self.boot) ? { do: "start" } : { do: "claim" };
}

const finish = (instance: VirtualMachineInstance, reason: string, message: string): Action =>
  ({ do: "finish", ending: { vmiUid: instance.metadata!.uid, reason, message } });

const finalPhase = ({ phase }: VirtualMachineInstanceStatus): boolean => phase === Phase.SUCCEEDED || phase === Phase.FAILED;

const refused = ({ memory, assignment }: Observed): boolean =>
  memory.refusedAt !== undefined && memory.refusedAt === assignment?.instance?.metadata?.resourceVersion;

