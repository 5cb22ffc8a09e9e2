/** A job's typed parameters as figures with names and units (pure). */
import { jobField, jobOperation, jobType } from "./constants.ts";
import type { JobKind, JobStats } from "./hypervisor.ts";

const FIGURES = {
  memoryTotalBytes: jobField.MEMORY_TOTAL,
  memoryProcessedBytes: jobField.MEMORY_PROCESSED,
  memoryRemainingBytes: jobField.MEMORY_REMAINING,
  memoryBytesPerSecond: jobField.MEMORY_BPS,
  dirtyPagesPerSecond: jobField.MEMORY_DIRTY_RATE,
  pageSizeBytes: jobField.MEMORY_PAGE_SIZE,
  iteration: jobField.MEMORY_ITERATION,
  throttlePercent: jobField.AUTO_CONVERGE_THROTTLE,
  elapsedMs: jobField.TIME_ELAPSED,
  setupMs: jobField.SETUP_TIME,
  downtimeMs: jobField.DOWNTIME,
  diskTotalBytes: jobField.DISK_TOTAL,
  diskProcessedBytes: jobField.DISK_PROCESSED,
  diskRemainingBytes: jobField.DISK_REMAINING,
} as const satisfies Partial<Record<Exclude<keyof JobStats, "kind">, string>>;

export function jobStats(type: number, parameters: ReadonlyMap<string, unknown>): JobStats {
  const stats: JobStats = { kind: type === jobType.NONE ? "none" : kindOf(parameters.get(jobField.OPERATION)) };
  for (const [name, field] of Object.entries(FIGURES)) {
    const value = parameters.get(field);
    if (typeof value === "number") stats[name as keyof typeof FIGURES] = value;
  }
  return stats;
}

function kindOf(operation: unknown): JobKind {
  if (operation === jobOperation.MIGRATION_OUT) return "migration-out";
  return operation === jobOperation.MIGRATION_IN ? "migration-in" : "other";
}
