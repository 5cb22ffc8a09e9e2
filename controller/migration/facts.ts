/** Reads the facts that the table asks for out of the records. Pure. */
import { ConditionStatus } from "../../gen/drover/v1/meta.ts";
import type { MigrationForecast } from "../../gen/drover/v1/preflight.ts";
import { MigrationPhase } from "../../gen/drover/v1/migration.ts";
import { MigrationMode, MigrationSourceState, MigrationTargetState, Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { InstanceMigration, MigrationOptions } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { isGone } from "../../lib/capacity.ts";
import type { Placement } from "../../lib/preflight/choose.ts";
import { conditionOf } from "../conditions.ts";
import { isFenced, isSilent } from "../node/liveness.ts";
import type { Instance, Migration, NodeRecord, VolumeRecord } from "../objects.ts";
import { isSettled } from "./copies.ts";
import type { Fact } from "./phases.ts";
import { budgetMs } from "./budgets.ts";
import type { Budgets } from "./budgets.ts";
import type { Hold } from "./queue.ts";
import { isCancelled } from "./story.ts";

export type Evidence = {
  migration: Migration;
  instance: Instance | undefined;
  /** This migration in the machine's record. */
  grant: InstanceMigration | undefined;
  /** An older one is open. */
  behind: boolean;
  /** Place in the queue; 0 may go on. */
  place: number;
  /** Which limit keeps it there. */
  hold: Hold | undefined;
  /** When it may begin, as it looks now. */
  expectedStart: () => Date | undefined;
  target: Placement | undefined;
  /** How it is to converge, were it admitted now. */
  options: () => MigrationOptions;
  /** What it is expected to take, by what is known now. */
  forecast: () => MigrationForecast | undefined;
  node: (name: string) => NodeRecord | undefined;
  volume: (name: string) => VolumeRecord | undefined;
  elapsedMs: (phase: MigrationPhase) => number;
  budgets: Budgets;
};

type Test = (evidence: Evidence, phase: MigrationPhase) => boolean | undefined;

const source = ({ grant }: Evidence): MigrationSourceState => grant?.source?.state ?? MigrationSourceState.UNSPECIFIED;
const target = ({ grant }: Evidence): MigrationTargetState => grant?.target?.state ?? MigrationTargetState.UNSPECIFIED;
const sourceNode = ({ grant, instance, node }: Evidence): NodeRecord | undefined => node(grant?.sourceNode ?? instance?.status.nodeName ?? "");

const ADMITTED: readonly MigrationPhase[] = [MigrationPhase.PREPARING_TARGET, MigrationPhase.TARGET_READY, MigrationPhase.RUNNING, MigrationPhase.FINALIZING];

const tests: Record<Fact, Test> = {
  cancelled: ({ migration }) => isCancelled(migration),
  stopping: ({ instance }) => instance?.metadata.deletionTimestamp !== undefined,
  "instance-gone": ({ instance, migration }) => !instance || isAnotherRun(instance, migration),
  "not-running": ({ instance }) => instance !== undefined && (instance.status.phase !== Phase.RUNNING || isGone(instance)),
  "not-migratable": ({ instance }) => conditionOf(instance?.status.conditions ?? [], "LiveMigratable")?.status === ConditionStatus.FALSE,
  occupied: ({ instance, migration, behind }) => behind || (instance?.status.migration !== undefined && instance.status.migration.uid !== migration.metadata.uid),
  "no-slot": ({ place }) => place > 0,
  "no-target": ({ target }) => target?.chosen === undefined,
  late: ({ elapsedMs, budgets }, phase) => elapsedMs(phase) >= budgetMs(budgets, phase),
  "grant-gone": ({ grant }, phase) => !grant && ADMITTED.includes(phase),
  "target-fenced": ({ grant, node }) => grant !== undefined && isFenced(node(grant.targetNode)),
  "source-fenced": (evidence) => isFenced(sourceNode(evidence)),
  "target-ready": (evidence) => target(evidence) === MigrationTargetState.READY,
  "target-refused": (evidence) => target(evidence) === MigrationTargetState.REFUSED,
  "target-running": (evidence) => target(evidence) === MigrationTargetState.RUNNING,
  "target-absent": (evidence) =>
    target(evidence) === MigrationTargetState.ABSENT && (evidence.grant?.target?.peerGeneration ?? 0) >= (evidence.grant?.source?.generation ?? 0),
  issued: (evidence) => source(evidence) === MigrationSourceState.ISSUED,
  "source-stayed": (evidence) => source(evidence) === MigrationSourceState.STAYED,
  "source-left": (evidence) => source(evidence) === MigrationSourceState.LEFT,
  "source-ended": (evidence) => source(evidence) === MigrationSourceState.ENDED,
  "abort-asked": ({ grant }) => grant?.abortRequested,
  "gave-up": ({ grant }) => (grant?.source?.gaveUp ?? "") !== "",
  "post-copy": (evidence) => source(evidence) === MigrationSourceState.ISSUED && evidence.grant?.source?.mode === MigrationMode.POST_COPY,
  "post-copy-broken": (evidence) => source(evidence) === MigrationSourceState.ISSUED && evidence.grant?.source?.standstill?.postCopyBroken,
  "at-target": ({ instance, migration }) => migration.status.targetNode !== "" && instance?.status.nodeName === migration.status.targetNode,
  tidied: (evidence, phase) =>
    evidence.grant?.handedOff &&
    isSettled(evidence.grant, evidence.volume) &&
    (source(evidence) === MigrationSourceState.LEFT || isSilent(sourceNode(evidence)) || evidence.elapsedMs(phase) >= budgetMs(evidence.budgets, phase)),
};

export function factsOf(evidence: Evidence, phase: MigrationPhase): ReadonlySet<Fact> {
  return new Set((Object.keys(tests) as Fact[]).filter((fact) => tests[fact](evidence, phase)));
}

/** A migration that names the run it is for never moves a later one. */
function isAnotherRun(instance: Instance, { metadata }: Migration): boolean {
  const run = metadata.ownerReferences.find(({ kind }) => kind === "VirtualMachineInstance");
  return run !== undefined && run.uid !== instance.metadata.uid;
}
