/** What a machine's status says, computed anew from what is observed. Pure. */
import { ConditionStatus } from "../../gen/drover/v1/meta.ts";
import type { Condition } from "../../gen/drover/v1/meta.ts";
import { MigrationOutcome } from "../../gen/drover/v1/migration.ts";
import { PowerIntent, PrintableStatus, RunOutcome } from "../../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachineStatus } from "../../gen/drover/v1/virtual_machine.ts";
import { DomainState, Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { conditionOf, fails, holds, unknown, withFacts } from "../conditions.ts";
import type { Fact } from "../conditions.ts";
import type { Instance, Machine, Migration } from "../objects.ts";
import { shallRun } from "./power.ts";
import { isFinal } from "./run-end.ts";
import { sameMessage } from "../../lib/same.ts";

export type Seen = {
  machine: Machine;
  instance?: Instance | undefined;
  /** An instance that has the machine's name and is not of this machine. */
  foreign?: Instance | undefined;
  /** The open migration's own record. */
  migration?: Migration | undefined;
  /** The owner's node does not answer. */
  silent: boolean;
  /** What is left of the back-off. */
  waitMs: number;
  now: Date;
};

/** Reasons of conditions that decisions ask for again. */
export const NAME_TAKEN = "InstanceNameTaken";
export const SILENT_AT_START = "NodeSilentAtStart";

type Rule = readonly [PrintableStatus, (seen: Seen) => boolean];

const isDeleting = (instance: Instance | undefined): boolean => instance?.metadata.deletionTimestamp !== undefined;
const isFalse = (instance: Instance | undefined, type: string): boolean =>
  conditionOf(instance?.status.conditions ?? [], type)?.status === ConditionStatus.FALSE;
const isRunning = (instance: Instance | undefined): boolean => instance?.status.phase === Phase.RUNNING;

/** The first that applies, in the order that people rely on. */
const RULES: readonly Rule[] = [
  [PrintableStatus.TERMINATING, ({ machine }) => machine.metadata.deletionTimestamp !== undefined],
  [
    PrintableStatus.STOPPING,
    ({ machine, instance }) =>
      instance !== undefined && (isDeleting(instance) || isFinal(instance) || machine.status.power?.intent === PowerIntent.STOP),
  ],
  [
    PrintableStatus.UNKNOWN,
    ({ instance, silent, migration }) =>
      (silent && instance?.status.claim !== undefined) || migration?.status.outcome === MigrationOutcome.UNKNOWN,
  ],
  [PrintableStatus.MIGRATING, ({ instance }) => instance?.status.migration !== undefined && !instance.status.migration.handedOff],
  [PrintableStatus.PAUSED, ({ instance }) => isRunning(instance) && instance?.status.ownerReport?.state === DomainState.PAUSED],
  [PrintableStatus.RUNNING, ({ instance }) => isRunning(instance)],
  [PrintableStatus.ERROR_UNSCHEDULABLE, ({ instance }) => isFalse(instance, "Scheduled")],
  [PrintableStatus.ERROR_VOLUME, ({ instance }) => isFalse(instance, "VolumesHeld")],
  [PrintableStatus.STARTING, ({ machine, instance, waitMs }) => instance !== undefined || (shallRun(machine) && waitMs <= 0)],
  [PrintableStatus.CRASH_LOOP_BACK_OFF, ({ machine }) => shallRun(machine)],
];

export function printableStatus(seen: Seen): PrintableStatus {
  return RULES.find(([, applies]) => applies(seen))?.[0] ?? PrintableStatus.STOPPED;
}

export function statusOf(seen: Seen): VirtualMachineStatus {
  const { machine, instance } = seen;
  const { status, metadata } = machine;
  const hardware = instance?.status.reachedRunning ? instance.status.hardware : undefined;
  return {
    ...status,
    printableStatus: printableStatus(seen),
    created: instance !== undefined,
    ready: isReady(seen),
    conditions: conditionsOf(seen),
    lastEpoch: Math.max(status.lastEpoch, instance?.status.lastGrantedEpoch ?? 0),
    frozen: hardware ?? status.frozen,
    observedGeneration: metadata.generation,
    nodeName: instance?.status.nodeName ?? "",
    instanceUid: instance?.metadata.uid ?? "",
    instanceGeneration: instance?.status.machineGeneration ?? 0,
  };
}

const isReady = ({ instance, silent }: Seen): boolean =>
  isRunning(instance) && !isDeleting(instance) && !silent && instance?.status.ownerReport?.state === DomainState.RUNNING;

const OWN = ["Ready", "Failure", "RestartRequired"];

/** Its own facts first, then the instance's as they stand. */
function conditionsOf(seen: Seen): Condition[] {
  const own = seen.machine.status.conditions.filter(({ type }) => OWN.includes(type));
  const theirs = seen.instance?.status.conditions ?? [];
  return [...withFacts(own, facts(seen), seen.now), ...theirs.filter(({ type }) => !OWN.includes(type))];
}

function facts(seen: Seen): Fact[] {
  return [readiness(seen), failure(seen), restartRequired(seen)];
}

function readiness(seen: Seen): Fact {
  const { instance, silent } = seen;
  if (silent && instance?.status.claim) {
    return unknown("Ready", instance.status.reachedRunning ? "NodeSilent" : SILENT_AT_START, `node ${instance.status.nodeName} does not answer`);
  }
  return isReady(seen) ? holds("Ready", "Running") : fails("Ready", instance ? "NotRunning" : "NoInstance");
}

function failure({ machine, instance, foreign }: Seen): Fact {
  if (foreign && shallRun(machine)) {
    const { name, uid } = foreign.metadata;
    return holds("Failure", NAME_TAKEN, `the instance ${name} (${uid}) has the machine's name and is not of this machine: the machine starts when it is deleted`);
  }
  const { lastRun } = machine.status;
  return lastRun?.outcome === RunOutcome.FAILED && !isRunning(instance) ? holds("Failure", "LastRunFailed", lastRun.message) : fails("Failure", "None");
}

/** The running instance is made from another template than the machine has now. */
function restartRequired({ machine, instance }: Seen): Fact {
  const changed =
    instance !== undefined &&
    instance.status.machineGeneration !== machine.metadata.generation &&
    !sameMessage(instance.spec, machine.spec.template.spec);
  return changed
    ? holds("RestartRequired", "TemplateChanged", "the change takes effect at the next run")
    : fails("RestartRequired", "None");
}
