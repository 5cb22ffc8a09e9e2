/** Whether a machine may be asked to move, and the migration that asks for it. All that stands in the way is told at once. Pure. */
import { CancelOutcome, MigrationPhase, VirtualMachineInstanceMigration, VirtualMachineInstanceMigrationStatus } from "../../gen/drover/v1/migration.ts";
import type { VirtualMachineInstanceMigrationSpec } from "../../gen/drover/v1/migration.ts";
import type { Node } from "../../gen/drover/v1/node.ts";
import type { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { CheckReason } from "../../gen/drover/v1/preflight.ts";
import { MigrationMode, MigrationSourceState } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { InstanceMigration, VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { Precondition } from "../../lib/errors.ts";
import { demandOf } from "../../lib/capacity.ts";
import { candidateOf } from "../../lib/preflight/candidate.ts";
import type { Wanted } from "../../lib/preflight/candidate.ts";
import { findings } from "../../lib/preflight/choose.ts";
import { blocks } from "../../lib/preflight/finding.ts";
import type { Load } from "../../lib/preflight/load.ts";
import { machineFindings } from "../../lib/preflight/machine.ts";
import { suffixedName } from "../../lib/suffixed-name.ts";
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
  /** What other machines take from it. */
  targetLoad: Load;
};

export function migrationPreconditions(admission: Admission): Precondition[] {
  return [...instancePreconditions(admission), ...targetPreconditions(admission)];
}

function instancePreconditions({ vm, instance, open, sourceNode }: Admission): Precondition[] {
  const about = { plural: VMI, object: instance };
  const names = open.map(({ metadata }) => metadata?.name ?? "");
  const found = machineFindings({ instance, isDeleting: vm?.metadata?.deletionTimestamp !== undefined, open: names, sourceNode });
  return found.filter(blocks).map(({ reason, message }) => precondition(TYPES[reason] ?? "NOT_MIGRATABLE", about, message));
}

function targetPreconditions({ spec, instance, sourceNode, targetNode, targetLoad }: Admission): Precondition[] {
  if (spec.targetNode === "") return [];
  const subject = `${NODE}/${spec.targetNode}`;
  if (spec.targetNode === instance.status?.nodeName) {
    return [{ type: "TARGET_IS_SOURCE", subject, message: `The machine runs on "${spec.targetNode}" already` }];
  }
  if (!targetNode) return [{ type: "TARGET_NOT_FOUND", subject, message: `No node is named "${spec.targetNode}"` }];
  const found = [...findings(candidateOf(targetNode, targetLoad), wantedOf(instance, spec, sourceNode))].filter(blocks);
  return found.map(({ reason, message }) => ({ type: TYPES[reason] ?? "TARGET_INCOMPATIBLE", subject, message: `"${spec.targetNode}" cannot take the machine: ${message}` }));
}

/** The words of PreconditionFailure, which are fewer than the reasons of checks. */
const TYPES: Partial<Record<CheckReason, string>> = {
  [CheckReason.NOT_RUNNING]: "NOT_RUNNING",
  [CheckReason.PAUSED]: "PAUSED",
  [CheckReason.DELETING]: "DELETING",
  [CheckReason.ALREADY_MIGRATING]: "ALREADY_MIGRATING",
  [CheckReason.SOURCE_NOT_CONNECTED]: "SOURCE_NOT_CONNECTED",
  [CheckReason.NODE_CORDONED]: "TARGET_CORDONED",
  [CheckReason.NODE_NOT_CONNECTED]: "TARGET_NOT_CONNECTED",
  [CheckReason.MEMORY]: "TARGET_FULL",
  [CheckReason.PROCESSORS]: "TARGET_FULL",
  [CheckReason.MACHINES]: "TARGET_FULL",
};

export type Asked = Pick<VirtualMachineInstanceMigrationSpec, "targetNode" | "addedNodeSelector">;

/** What a migration asks of its target. */
export function wantedOf({ spec, status }: VirtualMachineInstance, { targetNode, addedNodeSelector }: Asked, sourceNode: Node | undefined): Wanted {
  return { instance: spec!, hardware: status?.hardware, demand: demandOf(spec), purpose: "migrate", sourceNode, targetNode, addedNodeSelector };
}

/** `suffix` keeps the migrations of one machine apart. */
export function migrationOf(
  machine: Resource,
  spec: VirtualMachineInstanceMigrationSpec,
  suffix: string,
): VirtualMachineInstanceMigration {
  const { name, namespace } = metaOf(machine);
  const empty = VirtualMachineInstanceMigration.create({ metadata: { name: suffixedName(name, suffix), namespace } });
  return { ...empty, spec };
}

const ENDED: MigrationPhase[] = [MigrationPhase.SUCCEEDED, MigrationPhase.FAILED, MigrationPhase.CANCELLED];
export const isOpen = ({ status }: VirtualMachineInstanceMigration): boolean => !ENDED.includes(status?.phase ?? MigrationPhase.PENDING);

/** The instance whose migration cannot begin any more; undefined when it has begun, or is not entered here. */
export function withdrawn(instance: VirtualMachineInstance, migrationUid: string): VirtualMachineInstance | undefined {
  const { status } = instance;
  const grant = status?.migration;
  if (!status || grant?.uid !== migrationUid || grant.abortRequested || grant.handedOff || hasBegun(grant)) return undefined;
  return { ...instance, status: { ...status, migration: { ...grant, abortRequested: true } } };
}

const hasBegun = ({ source }: InstanceMigration): boolean => (source?.state ?? MigrationSourceState.UNSPECIFIED) !== MigrationSourceState.UNSPECIFIED;

/**
 * What a cancellation has achieved so far, by the machine's record as it stood after the wish was recorded. Whoever enters
 * the migration later finds the wish before the source may begin.
 */
export function cancelOutcomeOf(migration: VirtualMachineInstanceMigration, instance: VirtualMachineInstance | undefined): CancelOutcome {
  const grant = instance?.status?.migration;
  if (grant?.uid !== migration.metadata?.uid) {
    const entered = (migration.status?.targetNode ?? "") !== "";
    return entered ? CancelOutcome.REQUESTED : CancelOutcome.CANCELLED;
  }
  if (grant?.handedOff) return CancelOutcome.TOO_LATE;
  if (!grant || grant.source?.state === MigrationSourceState.ISSUED) return CancelOutcome.ABORTING;
  return hasBegun(grant) ? CancelOutcome.REQUESTED : CancelOutcome.CANCELLED;
}

/** The migration with that on it, unless it has ended meanwhile and says itself what came of it. */
export function withCancelOutcome(migration: VirtualMachineInstanceMigration, cancelOutcome: CancelOutcome): VirtualMachineInstanceMigration | undefined {
  const { status } = migration;
  if (!status || !isOpen(migration) || status.cancelOutcome === cancelOutcome) return undefined;
  return { ...migration, status: { ...status, cancelOutcome } };
}

/** From then on a part of the guest is on either host, and neither can have it alone. */
function isInPostCopy({ metadata }: VirtualMachineInstanceMigration, instance: VirtualMachineInstance | undefined): boolean {
  const grant = instance?.status?.migration;
  return grant?.uid === metadata?.uid && !grant?.handedOff && grant?.source?.state === MigrationSourceState.ISSUED && grant.source.mode === MigrationMode.POST_COPY;
}

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
  if (isInPostCopy(migration, instance)) {
    refuse("POST_COPY", { plural: VMIM, object: migration }, `Cannot cancel "${subjectOf(VMIM, migration)}": the guest runs at the target, and its memory follows`);
  }
  const handedOff = status.phase === MigrationPhase.FINALIZING || (grant?.uid === migration.metadata?.uid && grant?.handedOff === true);
  const cancelOutcome = handedOff ? CancelOutcome.TOO_LATE : status.cancelOutcome || CancelOutcome.REQUESTED;
  if (status.cancelRequested && status.cancelOutcome === cancelOutcome) return undefined;
  return { ...migration, status: { ...status, cancelRequested: true, cancelOutcome } };
}
