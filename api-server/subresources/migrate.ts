/** Whether a machine may be asked to move, and the migration that asks for it. All that stands in the way is told at once. Pure. */
import { ConditionStatus } from "../../gen/drover/v1/meta.ts";
import { CancelOutcome, MigrationPhase, VirtualMachineInstanceMigration, VirtualMachineInstanceMigrationStatus } from "../../gen/drover/v1/migration.ts";
import type { VirtualMachineInstanceMigrationSpec } from "../../gen/drover/v1/migration.ts";
import { NodeSessionState } from "../../gen/drover/v1/node.ts";
import type { Node } from "../../gen/drover/v1/node.ts";
import type { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { Precondition } from "../../lib/errors.ts";
import { fitFaults } from "../../lib/fit.ts";
import type { FitFault } from "../../lib/fit.ts";
import { metaOf } from "../kinds/kind.ts";
import type { Resource } from "../kinds/kind.ts";
import { NODE, precondition, refuse, subjectOf, VMI, VMIM } from "./refusal.ts";

export type Admission = {
  spec: VirtualMachineInstanceMigrationSpec;
  vm: VirtualMachine | undefined;
  instance: VirtualMachineInstance;
  /** Migrations of the instance that have not ended. */
  open: VirtualMachineInstanceMigration[];
  sourceNode: Node | undefined;
  /** The named target's record; undefined when none is named or it does not exist. */
  targetNode: Node | undefined;
};

export function migrationPreconditions(admission: Admission): Precondition[] {
  return [...instancePreconditions(admission), ...targetPreconditions(admission)];
}

function instancePreconditions({ vm, instance, open, sourceNode }: Admission): Precondition[] {
  const about = { plural: VMI, object: instance };
  const found: Precondition[] = [];
  const add = (type: string, message: string) => void found.push(precondition(type, about, message));
  if (instance.status?.phase !== Phase.RUNNING) add("NOT_RUNNING", "The machine does not run");
  const paused = conditionOf(instance, "Paused");
  if (paused?.status === ConditionStatus.TRUE) add("PAUSED", `The machine is paused: ${paused.message}`);
  if (instance.metadata?.deletionTimestamp || vm?.metadata?.deletionTimestamp) add("DELETING", "The machine is being stopped or deleted");
  const moving = instance.status?.migration?.name ?? open[0]?.metadata?.name;
  if (moving !== undefined) add("ALREADY_MIGRATING", `The migration "${moving}" has not ended`);
  const migratable = conditionOf(instance, "LiveMigratable");
  if (migratable?.status === ConditionStatus.FALSE) add("NOT_MIGRATABLE", `The machine cannot move live: ${migratable.message || migratable.reason}`);
  if (sourceNode?.status?.session?.state !== NodeSessionState.CONNECTED && instance.status?.nodeName) {
    add("SOURCE_NOT_CONNECTED", `The agent of "${instance.status.nodeName}" is not connected`);
  }
  return found;
}

const conditionOf = (instance: VirtualMachineInstance, type: string) =>
  instance.status?.conditions.find((condition) => condition.type === type);

function targetPreconditions({ spec, instance, sourceNode, targetNode }: Admission): Precondition[] {
  if (spec.targetNode === "") return [];
  const subject = `${NODE}/${spec.targetNode}`;
  if (spec.targetNode === instance.status?.nodeName) {
    return [{ type: "TARGET_IS_SOURCE", subject, message: `The machine runs on "${spec.targetNode}" already` }];
  }
  if (!targetNode) return [{ type: "TARGET_NOT_FOUND", subject, message: `No node is named "${spec.targetNode}"` }];
  const wanted = { ...instance.spec!, nodeSelector: { ...instance.spec!.nodeSelector, ...spec.addedNodeSelector } };
  const faults = fitFaults({ instance: wanted, hardware: instance.status?.hardware, node: targetNode, sourceNode, purpose: "migrate" });
  return faults.map((fault) => ({ type: typeOf(fault), subject, message: `"${spec.targetNode}" cannot take the machine: ${fault.message}` }));
}

function typeOf({ reason }: FitFault): string {
  if (reason === "node is cordoned") return "TARGET_CORDONED";
  if (reason === "node is not connected") return "TARGET_NOT_CONNECTED";
  return "TARGET_INCOMPATIBLE";
}

const NAME_LENGTH_MAX = 63;

/** `suffix` keeps the migrations of one machine apart. */
export function migrationOf(
  machine: Resource,
  spec: VirtualMachineInstanceMigrationSpec,
  suffix: string,
): VirtualMachineInstanceMigration {
  const { name, namespace } = metaOf(machine);
  const stem = name.slice(0, NAME_LENGTH_MAX - suffix.length - 1).replace(/-+$/, "");
  const empty = VirtualMachineInstanceMigration.create({ metadata: { name: `${stem}-${suffix}`, namespace } });
  return { ...empty, spec };
}

const ENDED: MigrationPhase[] = [MigrationPhase.SUCCEEDED, MigrationPhase.FAILED, MigrationPhase.CANCELLED];
export const isOpen = ({ status }: VirtualMachineInstanceMigration): boolean => !ENDED.includes(status?.phase ?? MigrationPhase.PENDING);

/** Asks for the end of a migration; what has been handed over stays so. `instance` is the one that it moves. */
export function cancelMigration(
  migration: VirtualMachineInstanceMigration,
  instance: VirtualMachineInstance | undefined,
): VirtualMachineInstanceMigration | undefined {
  const status = migration.status ?? VirtualMachineInstanceMigrationStatus.create({ phase: MigrationPhase.PENDING });
  if (!isOpen(migration)) {
    refuse("ENDED", { plural: VMIM, object: migration }, `Cannot cancel "${subjectOf(VMIM, migration)}": it has ended`);
  }
  const grant = instance?.status?.migration;
  const handedOff = status.phase === MigrationPhase.FINALIZING || (grant?.uid === migration.metadata?.uid && grant?.handedOff === true);
  const cancelOutcome = handedOff ? CancelOutcome.TOO_LATE : CancelOutcome.REQUESTED;
  if (status.cancelRequested && status.cancelOutcome === cancelOutcome) return undefined;
  return { ...migration, status: { ...status, cancelRequested: true, cancelOutcome } };
}
