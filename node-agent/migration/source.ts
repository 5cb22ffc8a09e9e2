/**
 * The source's half of a migration, pure: when to issue the call, how to tell that it is over, and what to say then.
 * From ISSUED on only evidence ends it: no job, no call outstanding, and what libvirt shows of the domain.
 */
import { MigrationSourceState, MigrationTargetState } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { InstanceMigration, VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { active } from "../machine/observed.ts";
import type { Observed, Seen, SourceMemory } from "../machine/observed.ts";

export type SourceAction =
  | { do: "wait"; recheckMs?: number }
  /** The target is ready: find the way to it before anything is promised. */
  | { do: "open-passage" }
  /** ISSUED of this process is on record, and it has not made the call: make it. */
  | { do: "call" }
  | { do: "abort" }
  /** A look that found no job after a call whose end nobody saw; a second one follows. */
  | { do: "note-quiet" }
  | { do: "poll-progress" }
  | { do: "say-source"; state: MigrationSourceState; message: string };

export const ABORT_REPEAT_MS = 1_000;
export const PROGRESS_EVERY_MS = 1_000;
/** A daemon that has just come back may not show the job yet. */
export const QUIET_MS = 3_000;
/** How long the figures of a finished transfer may come after its call has returned. */
const FIGURES_MS = 300;
const STUCK_RECHECK_MS = 2_000;
const LEFTOVER_RECHECK_MS = 5_000;

/** When whoever made the call is gone, and its error with it. */
const NOTHING_MOVES_IT = "The guest is still here, and nothing moves it any more";

const ENDS: ReadonlySet<MigrationSourceState> = new Set([MigrationSourceState.STAYED, MigrationSourceState.LEFT, MigrationSourceState.ENDED]);

export function newSourceMemory(uid: string): SourceMemory {
  return {
    uid, passage: "none", call: "none", error: "", returnedMs: undefined, quietSinceMs: undefined, abortAskedMs: undefined, abortSent: false,
    progress: undefined, complete: false, generation: 0, said: undefined,
  };
}

export function decideSource(observed: Observed, instance: VirtualMachineInstance): SourceAction {
  const migration = instance.status!.migration;
  if (!migration) return { do: "wait" };
  const memory = sourceMemory(observed, migration);
  const own = observed.domain?.identity?.vmiUid === instance.metadata!.uid ? observed.domain : undefined;
  const state = migration.source?.state ?? MigrationSourceState.UNSPECIFIED;
  if (ENDS.has(state)) return { do: "wait" };
  if (memory.call === "outstanding") return during(observed, migration, memory);
  if (migration.handedOff) return handedOff(own, memory);
  if (state === MigrationSourceState.UNSPECIFIED) return before(migration, own, memory);
  return after({ observed, migration, memory, own });
}

export const sourceMemory = ({ memory }: Pick<Observed, "memory">, { uid }: InstanceMigration): SourceMemory =>
  memory.source?.uid === uid ? memory.source : newSourceMemory(uid);

/** Nothing has been issued. ISSUED must be on record first: the call follows when the record comes back with it. */
function before(migration: InstanceMigration, own: Seen | undefined, memory: SourceMemory): SourceAction {
  if (!own || !active(own)) return say(memory, MigrationSourceState.ENDED, "The guest ended before it could be moved");
  if (migration.target?.state !== MigrationTargetState.READY || migration.abortRequested) return { do: "wait" };
  if (memory.passage === "none") return { do: "open-passage" };
  return memory.passage === "failed" ? say(memory, MigrationSourceState.STAYED, memory.error) : say(memory, MigrationSourceState.ISSUED, "");
}

/** The call, or a job that an earlier agent started, runs. */
function during({ nowMs }: Observed, migration: InstanceMigration, memory: SourceMemory): SourceAction {
  const due = memory.abortAskedMs === undefined || nowMs - memory.abortAskedMs >= ABORT_REPEAT_MS;
  if (migration.abortRequested && due) return { do: "abort" };
  return { do: "poll-progress" };
}

type Issued = { observed: Observed; migration: InstanceMigration; memory: SourceMemory; own: Seen | undefined };

/** ISSUED is on record, and no call of this process is outstanding. */
function after({ observed, migration, memory, own }: Issued): SourceAction {
  const { self, job, nowMs } = observed;
  if (memory.call === "none" && migration.source?.agentInstance === self.agentInstance) {
    if (!own || !active(own)) return say(memory, MigrationSourceState.ENDED, "The guest ended before it could be moved");
    return migration.abortRequested ? say(memory, MigrationSourceState.STAYED, "Aborted before the transfer began") : { do: "call" };
  }
  if (own && active(own) && job === undefined) return { do: "wait", recheckMs: PROGRESS_EVERY_MS };
  if (job?.kind === "migration-out") return during(observed, migration, memory);
  if (memory.call !== "returned") {
    if (memory.quietSinceMs === undefined) return { do: "note-quiet" };
    const leftMs = memory.quietSinceMs + QUIET_MS - nowMs;
    if (leftMs > 0) return { do: "wait", recheckMs: leftMs };
  }
  const figuresDue = memory.call === "returned" && memory.error === "" && !memory.complete;
  if (figuresDue && nowMs - (memory.returnedMs ?? nowMs) < FIGURES_MS) return { do: "wait", recheckMs: FIGURES_MS };
  return verdict(own, memory);
}

/** No job and no call: what is here says how it went. */
function verdict(own: Seen | undefined, memory: SourceMemory): SourceAction {
  if (!own || (own.state === "shutoff" && own.reason === "migrated")) return say(memory, MigrationSourceState.LEFT, "");
  if (!active(own)) return say(memory, MigrationSourceState.ENDED, memory.error || `The guest ended: ${own.reason}`);
  // Stopped for the switch-over and not started again: whether the target runs it is for the target to say.
  const switching = own.state === "paused" && (own.reason === "migration" || own.reason.startsWith("postcopy"));
  return switching ? { do: "wait", recheckMs: STUCK_RECHECK_MS } : say(memory, MigrationSourceState.STAYED, memory.error || NOTHING_MOVES_IT);
}

/** The target owns the machine. What is left of it here goes by libvirt's own doing, or later by the kill rule. */
function handedOff(own: Seen | undefined, memory: SourceMemory): SourceAction {
  return own && active(own) ? { do: "wait", recheckMs: LEFTOVER_RECHECK_MS } : say(memory, MigrationSourceState.LEFT, "");
}

function say(memory: SourceMemory, state: MigrationSourceState, message: string): SourceAction {
  return memory.said === state ? { do: "wait" } : { do: "say-source", state, message };
}
