/** What a migration's own record says, and how it is written on. The machine's record decides; this one tells. Pure. */
import { CancelOutcome, MigrationOutcome, MigrationPhase, MigrationReason } from "../../gen/drover/v1/migration.ts";
import type { MigrationPhaseTransition, VirtualMachineInstanceMigrationStatus } from "../../gen/drover/v1/migration.ts";
import { isKnown } from "../known.ts";
import type { Migration } from "../objects.ts";

export type KnownPhase = Exclude<MigrationPhase, typeof MigrationPhase.UNSPECIFIED | typeof MigrationPhase.UNRECOGNIZED>;

/** In the order in which a migration passes through them. */
export const ORDER: readonly MigrationPhase[] = [
  MigrationPhase.PENDING, MigrationPhase.SCHEDULING, MigrationPhase.PREPARING_TARGET, MigrationPhase.TARGET_READY,
  MigrationPhase.RUNNING, MigrationPhase.FINALIZING, MigrationPhase.SUCCEEDED, MigrationPhase.FAILED, MigrationPhase.CANCELLED,
];

const ENDS: readonly MigrationPhase[] = [MigrationPhase.SUCCEEDED, MigrationPhase.FAILED, MigrationPhase.CANCELLED];

export const hasEnded = (phase: MigrationPhase): boolean => ENDS.includes(phase);
/** A phase of a newer version is neither open nor ended: it is left alone. */
export const isOpen = ({ status }: Migration): boolean => !hasEnded(status.phase) && isKnown(MigrationPhase, status.phase);
/** The user wants it ended: asked so, or deleted its record. */
export const isCancelled = ({ metadata, status }: Migration): boolean => status.cancelRequested || metadata.deletionTimestamp !== undefined;

export const instanceKeyOf = ({ metadata, spec }: Migration): string => `${metadata.namespace}/${spec.vmiName}`;

/** Nothing has been entered in the machine's record for it. */
export function isWaiting({ status }: Migration): boolean {
  const { phase } = status;
  return phase === MigrationPhase.UNSPECIFIED || phase === MigrationPhase.PENDING || phase === MigrationPhase.SCHEDULING;
}

/** Oldest first; the name settles what the clock does not. */
export function byAge(a: Migration, b: Migration): number {
  const [timeA, timeB] = [a, b].map(({ metadata }) => metadata.creationTimestamp?.getTime() ?? 0) as [number, number];
  return timeA - timeB || (a.metadata.name < b.metadata.name ? -1 : 1);
}

export type Telling = Partial<Omit<VirtualMachineInstanceMigrationStatus, "phase" | "transitions" | "cancelOutcome">> & {
  phase: MigrationPhase;
  /** When this controller saw a phase begin, for people; undefined when it did not. */
  seen: (phase: MigrationPhase) => Date | undefined;
  now: Date;
};

/** The record with what is to be told, its passage through phases included. */
export function told(migration: Migration, { phase, seen, now, ...rest }: Telling): Migration {
  const { status } = migration;
  const silent = { queuePosition: 0, expectedStartTime: undefined, waitingFor: [], outcome: MigrationOutcome.UNSPECIFIED, reason: MigrationReason.UNSPECIFIED, message: "" };
  const next = { ...status, ...silent, ...rest, phase };
  const ended = hasEnded(phase);
  return {
    ...migration,
    status: {
      ...next,
      outcome: ended ? MigrationOutcome.KNOWN : next.outcome,
      cancelOutcome: cancelOutcome(migration, next),
      transitions: withTransitions(status, phase, (passed) => seen(passed) ?? (passed === phase ? now : undefined)),
    },
  };
}

function cancelOutcome(migration: Migration, { phase, reason }: { phase: MigrationPhase; reason: MigrationReason }): CancelOutcome {
  if (!isCancelled(migration)) return CancelOutcome.UNSPECIFIED;
  // What the API server has found out stands until the end is known.
  if (!hasEnded(phase)) return migration.status.cancelOutcome || CancelOutcome.REQUESTED;
  const stayed = phase !== MigrationPhase.SUCCEEDED && reason !== MigrationReason.GUEST_LOST;
  return stayed ? CancelOutcome.CANCELLED : CancelOutcome.TOO_LATE;
}

/** Phases that went by too quickly to be written are told with the next one that is. */
function withTransitions(
  { transitions }: VirtualMachineInstanceMigrationStatus,
  phase: MigrationPhase,
  seen: (phase: MigrationPhase) => Date | undefined,
): MigrationPhaseTransition[] {
  const missing = ORDER.slice(0, ORDER.indexOf(phase) + 1).filter((passed) => !transitions.some((transition) => transition.phase === passed));
  return [...transitions, ...missing.flatMap((passed) => (seen(passed) ? [{ phase: passed, time: seen(passed) }] : []))];
}
