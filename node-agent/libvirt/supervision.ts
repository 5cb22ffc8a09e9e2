/** When the driver child is given up (pure), and the limits of what it is asked at once. */
import type { OperationName } from "./protocol.ts";

/** Calls of one class wait for each other in the agent, so that a deadline counts work and not a queue. */
export type CallClass = "query" | "change" | "job" | "migrate";

export const CALL_CLASS = {
  inventory: "change",
  list: "query",
  get: "query",
  findByName: "query",
  xml: "query",
  launch: "change",
  define: "change",
  create: "change",
  shutdown: "change",
  destroy: "change",
  undefine: "change",
  suspend: "change",
  resume: "change",
  reset: "change",
  setMetadata: "change",
  migrate: "migrate",
  job: "job",
  startPostCopy: "job",
  abortJob: "job",
  setMigrationSpeed: "job",
  setMaxDowntime: "job",
  compareCpu: "change",
  startDirtyRate: "change",
  memoryLoad: "change",
  openConsole: "job",
} as const satisfies Record<OperationName, CallClass>;

/** One query and four changes are as many as the child has lanes for; the others have lanes of their own or are short. */
export const CONCURRENCY: Record<CallClass, number> = { query: 1, change: 4, job: 16, migrate: 8 };

export type Limits = {
  /** libvirt waits 30 s by itself for a domain's lock; a deadline above that lets it answer. No deadline: migrations. */
  deadlinesMs: Record<Exclude<CallClass, "migrate">, number>;
  /** The first open of a fresh daemon was seen to take 0.7 s; an open to a frozen one never returns. */
  openMs: number;
  /** Ticks, not time: an agent that was itself suspended for a while must not blame the child. */
  silentTicks: number;
};
export const LIMITS: Limits = {
  deadlinesMs: { query: 15_000, change: 60_000, job: 60_000 },
  openMs: 5_000,
  silentTicks: 8,
};
export const TICK_MS = 1_000;

export type Observed = {
  /** Ticks since the child last said anything. */
  silentTicks: number;
  openAgeMs: number;
  calls: readonly { id: number; operation: OperationName; ageMs: number }[];
};
export type Verdict = { keep: true } | { keep: false; reason: string; overdue: number[] };

export function supervise({ silentTicks, openAgeMs, calls }: Observed, limits: Limits): Verdict {
  const overdue = calls.filter(({ operation, ageMs }) => ageMs > deadlineMs(operation, limits));
  const ids = overdue.map(({ id }) => id);
  if (overdue.length > 0) return { keep: false, reason: `${overdue[0]!.operation} did not return in time`, overdue: ids };
  if (openAgeMs > limits.openMs) return { keep: false, reason: "libvirt accepts connections and does not answer", overdue: [] };
  if (silentTicks > limits.silentTicks) return { keep: false, reason: "the driver fell silent", overdue: [] };
  return { keep: true };
}

function deadlineMs(operation: OperationName, { deadlinesMs }: Limits): number {
  const callClass = CALL_CLASS[operation];
  return callClass === "migrate" ? Infinity : deadlinesMs[callClass];
}
