/**
 * What source and target say of an open migration, merged into the record. The states are ordered by what they prove:
 * late and repeated words never take evidence back. Pure.
 */
import {
  DiskCopy, DomainState, MigrationSourceState, MigrationTargetState, Phase, VirtualMachineInstanceStatus,
} from "../../gen/drover/v1/virtual_machine_instance.ts";
import type {
  InstanceMigration, MigrationSourceReport, MigrationStandstill, MigrationTargetReport, OfferedDisk, VirtualMachineInstance,
} from "../../gen/drover/v1/virtual_machine_instance.ts";
import { sameMessage } from "../../lib/same.ts";
import type { Reporter } from "./owner-report.ts";
import { refuse, VMI } from "./refusal.ts";
import { plain } from "./untrusted.ts";

export type MigrationReporter = Reporter & { migrationUid: string };

const POOL_LENGTH_MAX = 63;
const PROOF_LENGTH_MAX = 64;

type Refuse = (type: string, message: string) => never;

export function mergeSourceReport(
  vmi: VirtualMachineInstance,
  report: MigrationSourceReport,
  reporter: MigrationReporter,
): VirtualMachineInstance | undefined {
  const { migration, no } = migrationOf(vmi, reporter, "source");
  const current = migration.source;
  const before = current?.state ?? MigrationSourceState.UNSPECIFIED;
  if (before === MigrationSourceState.UNSPECIFIED && report.state === MigrationSourceState.ISSUED) requireMayIssue(vmi, migration, no);
  if (!advances(before, report.state) && !offers(before, report)) return undefined;
  // What the disks are like is said once, and only before it begins.
  const disks = before === MigrationSourceState.UNSPECIFIED && report.disks.length > 0 ? offered(migration, report.disks) : (current?.disks ?? []);
  if (current && sameSource(current, { ...report, disks })) return undefined;
  const source = {
    ...report,
    disks,
    generation: (current?.generation ?? 0) + 1,
    message: plain(report.message),
    gaveUp: plain(report.gaveUp),
    standstill: report.standstill && { ...report.standstill, message: plain(report.standstill.message) },
    agentInstance: reporter.agentInstance,
  };
  return withMigration(vmi, { ...migration, source });
}

const offers = (before: MigrationSourceState, { state, disks }: MigrationSourceReport): boolean =>
  before === MigrationSourceState.UNSPECIFIED && state === MigrationSourceState.UNSPECIFIED && disks.length > 0;

const DIGEST = /^[0-9a-f]{64}$/;

/** Of the disks that are to be copied, and of no others. */
function offered({ copiedDisks }: InstanceMigration, disks: readonly OfferedDisk[]): OfferedDisk[] {
  return copiedDisks.flatMap(({ volume }) => {
    const disk = disks.find((one) => one.volume === volume);
    return disk ? [{ ...disk, baseDigest: DIGEST.test(disk.baseDigest) ? disk.baseDigest : "" }] : [];
  });
}

const OPEN: MigrationSourceState[] = [MigrationSourceState.UNSPECIFIED, MigrationSourceState.ISSUED];

/** An end is not taken back by an older word; from one end to another the newest look counts. */
function advances(before: MigrationSourceState, after: MigrationSourceState): boolean {
  if (after === MigrationSourceState.UNSPECIFIED) return false;
  return !OPEN.includes(after) || OPEN.includes(before);
}

const sameSource = (a: MigrationSourceReport, b: MigrationSourceReport): boolean =>
  a.state === b.state && a.abortSent === b.abortSent && a.message === plain(b.message) && sameMessage(a.disks, b.disks) &&
  a.mode === b.mode && a.gaveUp === plain(b.gaveUp) && sameStandstill(a.standstill, b.standstill);

const sameStandstill = (a: MigrationStandstill | undefined, b: MigrationStandstill | undefined): boolean =>
  a?.postCopyBroken === b?.postCopyBroken && a?.attempts === b?.attempts;

/** The last gate before a guest's memory moves: the record must say that this source may still begin. */
function requireMayIssue({ metadata, status }: VirtualMachineInstance, migration: InstanceMigration, no: Refuse): void {
  const { nodeName, phase, claim, ownerReport } = status ?? VirtualMachineInstanceStatus.create();
  if (migration.abortRequested || metadata?.deletionTimestamp) no("ABORT_REQUESTED", "The migration shall not begin");
  if (migration.target?.state !== MigrationTargetState.READY) no("TARGET_NOT_READY", "The target is not ready");
  const isAgreed = migration.copiedDisks.length === 0 || migration.target.diskCopy !== DiskCopy.UNSPECIFIED;
  if (!isAgreed) no("TARGET_NOT_READY", "The target has not said how the disks are to be copied");
  const owns = nodeName === migration.sourceNode && claim?.nodeName === migration.sourceNode && claim.epoch === migration.sourceEpoch;
  if (!owns) no("NOT_OWNER", `"${migration.sourceNode}" does not own the machine`);
  if (phase !== Phase.RUNNING || ownerReport?.state === DomainState.GONE) no("NOT_RUNNING", "The machine does not run");
}

export function mergeTargetReport(
  vmi: VirtualMachineInstance,
  report: MigrationTargetReport,
  reporter: MigrationReporter,
): VirtualMachineInstance | undefined {
  const { migration } = migrationOf(vmi, reporter, "target");
  const current = migration.target;
  const target = {
    ...report,
    generation: (current?.generation ?? 0) + 1,
    message: plain(report.message),
    doorAddress: plain(report.doorAddress),
    memoryUri: plain(report.memoryUri),
    poolProofs: Object.fromEntries(Object.entries(report.poolProofs).map(([pool, proof]) => [plain(pool, POOL_LENGTH_MAX), plain(proof, PROOF_LENGTH_MAX)])),
    agentInstance: reporter.agentInstance,
    // A generation that the source has not reached cannot have been seen.
    peerGeneration: Math.min(report.peerGeneration, migration.source?.generation ?? 0),
  };
  const allowed = FOLLOWS[current?.state ?? MigrationTargetState.UNSPECIFIED] ?? [];
  if (!allowed.includes(report.state) || (current && sameTarget(current, target))) return undefined;
  return withMigration(vmi, { ...migration, target });
}

const { UNSPECIFIED, READY, REFUSED, INCOMING, RUNNING, ABSENT, UNRECOGNIZED } = MigrationTargetState;

/** What the target may say after what it said. RUNNING stands: it decides who owns the machine. */
const FOLLOWS = {
  [UNRECOGNIZED]: [],
  [UNSPECIFIED]: [READY, REFUSED, INCOMING, RUNNING, ABSENT],
  [READY]: [READY, REFUSED, INCOMING, RUNNING, ABSENT],
  [REFUSED]: [REFUSED, INCOMING, RUNNING, ABSENT],
  [INCOMING]: [INCOMING, RUNNING, ABSENT],
  [RUNNING]: [],
  [ABSENT]: [INCOMING, RUNNING, ABSENT],
} as const satisfies Record<MigrationTargetState, readonly MigrationTargetState[]> as Record<MigrationTargetState, readonly MigrationTargetState[]>;

const sameTarget = (a: MigrationTargetReport, b: MigrationTargetReport): boolean =>
  a.state === b.state && a.peerGeneration === b.peerGeneration && a.message === b.message && a.doorAddress === b.doorAddress &&
  a.memoryUri === b.memoryUri && a.agentInstance === b.agentInstance && a.diskCopy === b.diskCopy && sameMessage(a.poolProofs, b.poolProofs);

type Side = "source" | "target";
type Open = { migration: InstanceMigration; no: Refuse };

/** The open migration that the report is about. Only the node on that side of it speaks, and only under that side's epoch. */
function migrationOf(vmi: VirtualMachineInstance, { vmiUid, migrationUid, nodeName, epoch }: MigrationReporter, side: Side): Open {
  const no: Refuse = (type, message) => refuse(type, { plural: VMI, object: vmi }, message);
  if (vmi.metadata?.uid !== vmiUid) no("NOT_OWNER", `Another instance has the name: ${vmi.metadata?.uid}`);
  const migration = vmi.status?.migration;
  if (migration?.uid !== migrationUid) return no("NO_MIGRATION", `The migration ${migrationUid} is not open`);
  const [node, granted] = side === "source" ? [migration.sourceNode, migration.sourceEpoch] : [migration.targetNode, migration.targetEpoch];
  if (node !== nodeName) no("NOT_OWNER", `The migration's ${side} is "${node}"`);
  if (granted !== epoch) no("STALE_EPOCH", `The migration's ${side} has epoch ${granted}`);
  return { migration, no };
}

function withMigration(vmi: VirtualMachineInstance, migration: InstanceMigration): VirtualMachineInstance {
  return { ...vmi, status: { ...(vmi.status ?? VirtualMachineInstanceStatus.create()), migration } };
}
