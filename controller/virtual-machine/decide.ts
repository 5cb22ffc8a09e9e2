/** One machine: when its instance comes and goes, what its status says. Pure; equal observations, equal decisions. */
import { EventType } from "../../gen/drover/v1/event.ts";
import { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import { PowerIntent, PrintableStatus } from "../../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachineStatus } from "../../gen/drover/v1/virtual_machine.ts";
import type { PowerState } from "../../gen/drover/v1/virtual_machine.ts";
import { Phase, VirtualMachineInstanceStatus } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { earliest, NOTHING } from "../actions.ts";
import type { Action, Decision, Notice } from "../actions.ts";
import { conditionOf } from "../conditions.ts";
import { frozenFor } from "../scheduler/hardware.ts";
import type { Instance, Machine } from "../objects.ts";
import { isUnderstood, shallRun } from "./power.ts";
import { isFinal, isOver, recordEnd, STEADY_AFTER_MS } from "./run-end.ts";
import { NAME_TAKEN, SILENT_AT_START, statusOf } from "./status.ts";
import type { Seen } from "./status.ts";
import { sameMessage } from "../../lib/same.ts";

export const INSTANCE_FINALIZER = "drover.dev/instance";
export const DOMAIN_FINALIZER = "drover.dev/domain";

/** A word that will be another one in a moment is not worth a commit: it is written when it still holds after this. */
export const PASSING_MS = 1_000;
const PASSING: readonly PrintableStatus[] = [PrintableStatus.STARTING, PrintableStatus.STOPPING, PrintableStatus.MIGRATING];

export type Observed = Seen & {
  /** Its node is confirmed fenced. */
  fenced: boolean;
  /** How long the guest has run, as far as this controller saw. */
  ranMs: number;
  /** For how long the status, as computed, has differed from the recorded one by `subject`'s word. */
  passedMs: (subject: PrintableStatus) => number;
  fraction: () => number;
};

export function decide(observed: Observed): Decision {
  const { machine, instance } = observed;
  if (!isUnderstood(machine)) return NOTHING;
  if (machine.metadata.deletionTimestamp && !instance) return { actions: finish(machine) };
  const recorded = withEnd(observed);
  const status = steady(statusOf({ ...observed, machine: recorded }), observed);
  const { write, recheckMs } = whetherToWrite(observed, { recorded, status });
  const next: Machine = write ? { ...machine, status } : machine;
  const record: Action[] = write ? [{ do: "put-machine", machine: next }, ...notices(machine, next)] : [];
  return {
    actions: [...record, ...run({ ...observed, machine: recorded })],
    recheckMs: earliest(recheckMs, observed.waitMs > 0 ? observed.waitMs : undefined, settles(observed)),
  };
}

export const owns = ({ metadata }: Machine, instance: Instance): boolean => instance.metadata.ownerReferences.some(({ uid }) => uid === metadata.uid);

function withEnd(observed: Observed): Machine {
  const { machine, instance } = observed;
  if (!instance || !isOver(instance, observed)) return machine;
  const status = recordEnd({ ...observed, instance });
  return status === machine.status ? machine : { ...machine, status };
}

/** A run that has lasted clears the failures before it. */
function steady(status: VirtualMachineStatus, { instance, ranMs }: Observed): VirtualMachineStatus {
  const lasted = instance?.status.phase === Phase.RUNNING && ranMs >= STEADY_AFTER_MS;
  return lasted && status.startFailure ? { ...status, startFailure: undefined } : status;
}

const settles = ({ machine, instance, ranMs }: Observed): number | undefined =>
  machine.status.startFailure && instance?.status.phase === Phase.RUNNING && ranMs < STEADY_AFTER_MS ? STEADY_AFTER_MS - ranMs : undefined;

function whetherToWrite(
  observed: Observed,
  { recorded, status }: { recorded: Machine; status: VirtualMachineStatus },
): { write: boolean; recheckMs?: number } {
  const { machine } = observed;
  const passing = PASSING.includes(status.printableStatus) && recorded === machine && !observed.foreign;
  if (passing) {
    if (status.printableStatus === machine.status.printableStatus) return { write: false };
    const leftMs = PASSING_MS - observed.passedMs(status.printableStatus);
    if (leftMs > 0) return { write: false, recheckMs: leftMs };
  }
  return { write: !sameMessage(status, machine.status) };
}

/** What happens to the run itself, after the record above has been written. */
function run(observed: Observed): Action[] {
  const { machine, instance, foreign, waitMs } = observed;
  if (instance) return end(machine, instance);
  // Somebody else's instance has the name: there is nothing to do until it goes.
  if (foreign) return [];
  return shallRun(machine) && waitMs <= 0 ? [{ do: "create-instance", machine, instance: instanceFor(machine) }] : [];
}

function end(machine: Machine, instance: Instance): Action[] {
  if (isFinal(instance)) return instance.metadata.deletionTimestamp ? [] : [{ do: "delete-instance", instance, graceSeconds: 0 }];
  const power = machine.status.power;
  const wanted = machine.metadata.deletionTimestamp || power?.intent === PowerIntent.STOP || power?.restartUid === instance.metadata.uid;
  if (!wanted) return [];
  const graceSeconds = graceOf(machine, power);
  if (instance.metadata.deletionTimestamp && !isShorter(graceSeconds, instance)) return [];
  return [{ do: "delete-instance", instance, graceSeconds }];
}

function graceOf({ metadata }: Machine, power: PowerState | undefined): number | undefined {
  if (power?.force && power.intent === PowerIntent.STOP) return 0;
  if (metadata.deletionTimestamp) return metadata.deletionGracePeriodSeconds ?? power?.gracePeriodSeconds;
  return power?.force ? 0 : power?.gracePeriodSeconds;
}

const isShorter = (graceSeconds: number | undefined, { metadata }: Instance): boolean =>
  graceSeconds !== undefined && graceSeconds < (metadata.deletionGracePeriodSeconds ?? Infinity);

function finish(machine: Machine): Action[] {
  const { metadata } = machine;
  if (!metadata.finalizers.includes(INSTANCE_FINALIZER)) return [];
  const finalizers = metadata.finalizers.filter((finalizer) => finalizer !== INSTANCE_FINALIZER);
  return [{ do: "finish-machine", machine: { ...machine, metadata: { ...metadata, finalizers } } }];
}

/** A run of the machine, as it is made now; it begins where the last one's epochs ended. */
export function instanceFor(machine: Machine): Instance {
  const { metadata, spec, status } = machine;
  const { template } = spec;
  return {
    metadata: ObjectMeta.create({
      name: metadata.name,
      namespace: metadata.namespace,
      labels: { ...template.metadata?.labels },
      annotations: { ...template.metadata?.annotations },
      finalizers: [DOMAIN_FINALIZER],
      ownerReferences: [{ kind: "VirtualMachine", name: metadata.name, uid: metadata.uid }],
    }),
    spec: template.spec,
    status: VirtualMachineInstanceStatus.create({
      phase: Phase.PENDING,
      lastGrantedEpoch: status.lastEpoch,
      powerGeneration: status.power?.generation ?? 0,
      machineGeneration: metadata.generation,
      hardware: frozenFor(template.spec, status.frozen),
    }),
  };
}

/** What people are told, once for each written change. */
function notices(before: Machine, after: Machine): Action[] {
  const notice = noticeOf(before.status, after.status);
  return notice ? [{ do: "notify", notice: { kind: "VirtualMachine", about: after, ...notice } }] : [];
}

function noticeOf(before: VirtualMachineStatus, after: VirtualMachineStatus): Pick<Notice, "reason" | "message" | "type"> | undefined {
  if (after.startFailure && after.startFailure.lastFailedUid !== before.startFailure?.lastFailedUid) {
    const { consecutiveFailCount, retryAfterMs } = after.startFailure;
    const message = `failed ${consecutiveFailCount} times in a row, next attempt in ${Math.round(retryAfterMs / 1000)} s: ${after.lastRun?.message ?? ""}`;
    return { reason: "BackOff", message, type: EventType.WARNING };
  }
  const nameTaken = conditionOf(after.conditions, "Failure");
  if (nameTaken?.reason === NAME_TAKEN && conditionOf(before.conditions, "Failure")?.reason !== NAME_TAKEN) {
    return { reason: NAME_TAKEN, message: nameTaken.message, type: EventType.WARNING };
  }
  if (before.printableStatus === after.printableStatus) return undefined;
  if (after.printableStatus === PrintableStatus.STOPPED && before.lastRun) {
    return { reason: "Stopped", message: before.lastRun.message || "the machine is off", type: EventType.NORMAL };
  }
  return isStart(before, after) ? { reason: "Started", message: `runs on node ${after.nodeName}`, type: EventType.NORMAL } : undefined;
}

/** A guest that pauses, moves or falls silent has run all the time, or may have. */
const HAS_RUN: readonly PrintableStatus[] = [PrintableStatus.RUNNING, PrintableStatus.PAUSED, PrintableStatus.MIGRATING, PrintableStatus.UNKNOWN];

function isStart(before: VirtualMachineStatus, after: VirtualMachineStatus): boolean {
  if (after.printableStatus !== PrintableStatus.RUNNING) return false;
  if (before.instanceUid !== after.instanceUid || !HAS_RUN.includes(before.printableStatus)) return true;
  return conditionOf(before.conditions, "Ready")?.reason === SILENT_AT_START;
}
