/** The owner's word about its machine, merged into the record together with the phase that follows from it. Pure. */
import { ConditionStatus } from "../../gen/drover/v1/meta.ts";
import type { Condition } from "../../gen/drover/v1/meta.ts";
import { DomainState, MigrationSourceState, VirtualMachineInstanceStatus } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { OwnerReport, VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { meaningOf, phaseAfter } from "./phase.ts";
import { refuse, VMI } from "./refusal.ts";
import { plain } from "./untrusted.ts";

/** Who reports, from the certificate and the request. */
export type Reporter = { nodeName: string; agentInstance: string; vmiUid: string; epoch: number; now: Date };

/** Undefined: the record says as much already, or something newer. */
export function mergeOwnerReport(vmi: VirtualMachineInstance, report: OwnerReport, reporter: Reporter): VirtualMachineInstance | undefined {
  requireOwner(vmi, reporter);
  const status = vmi.status ?? VirtualMachineInstanceStatus.create();
  const bounded = boundedReport(report, reporter);
  if (outdated(status.ownerReport, bounded)) return undefined;
  if (leaving(status, bounded)) refuse("MIGRATION_OPEN", { plural: VMI, object: vmi }, "Its transfer is issued: its guest may run at the target");
  const deleting = vmi.metadata?.deletionTimestamp !== undefined;
  const outcome = phaseAfter(status.phase, bounded, deleting);
  const runs = meaningOf(bounded.state) === "runs";
  return {
    ...vmi,
    status: {
      ...status,
      ...outcome,
      ownerReport: bounded,
      conditions: withPaused(status.conditions, bounded, reporter.now),
      reachedRunning: status.reachedRunning || runs,
      runningSince: status.runningSince ?? (runs ? reporter.now : undefined),
    },
  };
}

/** Only the claiming owner speaks, and only under its present epoch. */
function requireOwner(vmi: VirtualMachineInstance, { nodeName, vmiUid, epoch }: Reporter): void {
  const status = vmi.status ?? VirtualMachineInstanceStatus.create();
  const no = (type: string, message: string) => refuse(type, { plural: VMI, object: vmi }, message);
  if (vmi.metadata?.uid !== vmiUid) no("NOT_OWNER", `Another instance has the name: ${vmi.metadata?.uid}`);
  if (status.nodeName !== nodeName) no("NOT_OWNER", `The record names "${status.nodeName}" as owner, not "${nodeName}"`);
  if (status.epoch !== epoch) no("STALE_EPOCH", `The record stands at epoch ${status.epoch}, not ${epoch}`);
  if (status.claim?.nodeName !== nodeName || status.claim.epoch !== epoch) no("NOT_OWNER", `"${nodeName}" has not claimed it`);
}

function boundedReport(report: OwnerReport, { nodeName, agentInstance, epoch }: Reporter): OwnerReport {
  return {
    ...report,
    nodeName,
    agentInstance,
    epoch,
    reason: plain(report.reason, 64),
    message: plain(report.message),
    pausedReason: plain(report.pausedReason, 64),
  };
}

function outdated(current: OwnerReport | undefined, report: OwnerReport): boolean {
  if (!current || current.epoch !== report.epoch) return false;
  if (current.state === DomainState.GONE) return true;
  return current.agentInstance === report.agentInstance && report.generation <= current.generation;
}

/**
 * While a transfer is issued, a domain that is no longer at its source may run at the target: what became of the guest
 * is then for the migration's own evidence to say. A refusal, so that the agent says it again if it is still the owner
 * when the record has changed.
 */
function leaving({ migration }: VirtualMachineInstanceStatus, report: OwnerReport): boolean {
  if (!migration || migration.handedOff || meaningOf(report.state) !== "ended") return false;
  return (migration.source?.state ?? MigrationSourceState.UNSPECIFIED) !== MigrationSourceState.UNSPECIFIED;
}

/** The Paused condition follows the report; a machine that was never paused carries none. */
function withPaused(conditions: Condition[], report: OwnerReport, now: Date): Condition[] {
  const paused = report.state === DomainState.PAUSED;
  const current = conditions.find(({ type }) => type === "Paused");
  if (!current && !paused) return conditions;
  const status = paused ? ConditionStatus.TRUE : ConditionStatus.FALSE;
  const reason = paused ? PAUSED_REASONS[report.pausedReason] ?? "Paused" : "NotPaused";
  const message = paused ? `The guest's processors are stopped: ${report.pausedReason || "no reason was given"}` : "";
  const lastTransitionTime = current?.status === status ? current.lastTransitionTime : now;
  return [...conditions.filter((condition) => condition !== current), { type: "Paused", status, reason, message, lastTransitionTime }];
}

const PAUSED_REASONS: Record<string, string> = { user: "PausedByUser", "io-error": "PausedByIOError", migration: "PausedByMigration" };
