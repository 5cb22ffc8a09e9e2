/** What a wait makes of a migration, and how its progress is told. Pure. */
import { MigrationOutcome, MigrationPhase, MigrationReason } from "../gen/drover/v1/migration.ts";
import type { VirtualMachineInstanceMigration } from "../gen/drover/v1/migration.ts";
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
  const target = status?.targetNode || spec?.targetNode || "?";
  const way = status?.sourceNode ? `${status.sourceNode} to ${target}` : `to ${target}`;
  const facts = [way, ...figures(status), ...waiting(status)];
  return `${word(MigrationPhase, status?.phase) || "Pending"}: ${facts.join(", ")}`;
}

type Status = VirtualMachineInstanceMigration["status"];

function figures(status: Status): string[] {
  const { progress, phase } = status ?? {};
  if (!progress || progress.memoryTotalBytes === 0) return [];
  if (phase === MigrationPhase.SUCCEEDED) return [`downtime ${progress.downtimeMs} ms`, `${(progress.elapsedMs / 1000).toFixed(1)} s`];
  return [
    `${mebibytes(progress.memoryRemainingBytes)} of ${mebibytes(progress.memoryTotalBytes)} MiB left`,
    `${mebibytes(progress.memoryBytesPerSecond)} MiB/s`,
    `expected downtime ${progress.downtimeMs} ms`,
  ];
}

const mebibytes = (bytes: number) => (bytes / MIB).toFixed(1);

function waiting(status: Status): string[] {
  if (status?.outcome === MigrationOutcome.UNKNOWN) return [`outcome unknown, waiting for ${status.waitingFor.join("; ")}`];
  if (status?.phase !== MigrationPhase.PENDING || status.queuePosition === 0) return [];
  const start = status.expectedStartTime;
  return [`place ${status.queuePosition} in the queue`, ...(start ? [`expected to begin at ${start.toISOString()}`] : [])];
}
