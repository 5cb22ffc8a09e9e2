/** What a wait makes of a migration, and how its progress is told. Pure. */
import { MigrationOutcome, MigrationPhase, MigrationReason } from "../gen/drover/v1/migration.ts";
import type { VirtualMachineInstanceMigration } from "../gen/drover/v1/migration.ts";
import { MigrationMode } from "../gen/drover/v1/virtual_machine_instance.ts";
import type { MigrationProgress } from "../gen/drover/v1/virtual_machine_instance.ts";
import { word } from "./kinds/kind.ts";
import type { Verdict } from "./wait.ts";

const MIB = 1024 * 1024;

export function migrated(migration: VirtualMachineInstanceMigration | undefined): Verdict {
  if (!migration) return { failed: "it was deleted before it ended" };
  const { phase, reason, message = "" } = migration.status ?? {};
  if (phase === MigrationPhase.SUCCEEDED) return { done: true };
  if (phase !== MigrationPhase.FAILED && phase !== MigrationPhase.CANCELLED) return undefined;
  const why = [word(MigrationReason, reason), message].filter(Boolean).join(": ");
  return { failed: `${word(MigrationPhase, phase)}${why === "" ? "" : `: ${why}`}` };
}

/** "Running: a to b, 96.2 of 512.0 MiB left, 117.3 MiB/s, expected downtime 42 ms". */
export function progressLine({ spec, status }: VirtualMachineInstanceMigration): string {
  const facts = [wayOf({ spec, status }), ...figures(status), ...waiting(status)];
  return `${word(MigrationPhase, status?.phase) || "Pending"}: ${facts.join(", ")}`;
}

function wayOf({ spec, status }: Pick<VirtualMachineInstanceMigration, "spec" | "status">): string {
  const target = status?.targetNode || spec?.targetNode || "?";
  return status?.sourceNode ? `${status.sourceNode} to ${target}` : `to ${target}`;
}

type Status = VirtualMachineInstanceMigration["status"];

const BAR_WIDTH = 24;

/**
 * For a terminal, on one line: "Running [##########--------------]  43 % a to b, 117.0 MiB/s, dirty 12.0 MiB/s, 96.3 MiB left,
 * round 3". Without figures, what can be said without them.
 */
export function progressBar(migration: VirtualMachineInstanceMigration): string {
  const { status } = migration;
  const { progress, phase } = status ?? {};
  const total = (progress?.memoryTotalBytes ?? 0) + (progress?.diskTotalBytes ?? 0);
  if (!progress || total === 0 || phase !== MigrationPhase.RUNNING) return progressLine(migration);
  const left = progress.memoryRemainingBytes + progress.diskRemainingBytes;
  const share = Math.min(1, Math.max(0, 1 - left / total));
  const filled = Math.round(share * BAR_WIDTH);
  const bar = `[${"#".repeat(filled)}${"-".repeat(BAR_WIDTH - filled)}]`;
  const facts = [wayOf(migration), ...rates(progress), `${mebibytes(left)} MiB left`, ...effort(status!), ...waiting(status)];
  return `Running ${bar} ${String(Math.floor(share * 100)).padStart(3)} % ${facts.join(", ")}`;
}

function rates({ memoryBytesPerSecond, dirtyBytesPerSecond }: MigrationProgress): string[] {
  return [`${mebibytes(memoryBytesPerSecond)} MiB/s`, ...(dirtyBytesPerSecond > 0 ? [`dirty ${mebibytes(dirtyBytesPerSecond)} MiB/s`] : [])];
}

/** What is done so that it converges. */
function effort({ progress, mode }: NonNullable<Status>): string[] {
  const { iteration = 0, throttlePercent = 0, downtimeLimitMs = 0 } = progress ?? {};
  return [
    ...(iteration > 1 ? [`round ${iteration}`] : []),
    ...(downtimeLimitMs > 0 ? [`downtime up to ${downtimeLimitMs} ms`] : []),
    ...(throttlePercent > 0 ? [`slowed by ${throttlePercent} %`] : []),
    ...(mode === MigrationMode.POST_COPY ? ["post-copy"] : mode === MigrationMode.PAUSED ? ["paused"] : []),
  ];
}

function figures(status: Status): string[] {
  const { progress, phase } = status ?? {};
  if (!progress) return [];
  const disks = progress.diskTotalBytes > 0 ? [`${mebibytes(progress.diskRemainingBytes)} of ${mebibytes(progress.diskTotalBytes)} MiB of disks left`] : [];
  // Disks come first, and until they are nearly equal nothing is said of memory.
  if (progress.memoryTotalBytes === 0) return disks;
  if (phase === MigrationPhase.SUCCEEDED) return [`downtime ${progress.downtimeMs} ms`, `${(progress.elapsedMs / 1000).toFixed(1)} s`];
  return [
    ...disks,
    `${mebibytes(progress.memoryRemainingBytes)} of ${mebibytes(progress.memoryTotalBytes)} MiB left`,
    `${mebibytes(progress.memoryBytesPerSecond)} MiB/s`,
    `expected downtime ${progress.downtimeMs} ms`,
    ...effort(status!),
  ];
}

const mebibytes = (bytes: number) => (bytes / MIB).toFixed(1);

function waiting(status: Status): string[] {
  if (status?.outcome === MigrationOutcome.UNKNOWN) return [`outcome unknown, waiting for ${status.waitingFor.join("; ")}`];
  if (status?.phase !== MigrationPhase.PENDING || status.queuePosition === 0) return [];
  const start = status.expectedStartTime;
  return [`place ${status.queuePosition} in the queue`, ...(start ? [`expected to begin at ${start.toISOString()}`] : [])];
}
