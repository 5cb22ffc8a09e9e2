/**
 * The source's half of a migration, pure: when to issue the call, how to tell that it is over, and what to say then.
 * From ISSUED on only evidence ends it: no job, no call outstanding, and what libvirt shows of the domain.
 */
import { MigrationMode, MigrationSourceState, MigrationTargetState } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { InstanceMigration, MigrationStandstill, VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { active, halved, ownDomain } from "../machine/observed.ts";
import type { Observed, Seen, SourceMemory } from "../machine/observed.ts";
import { converge, sampleOf } from "./convergence.ts";
import type { Convergence } from "./convergence.ts";

export type SourceAction =
  | { do: "wait"; recheckMs?: number }
  /** Disks are to be copied: say what they are like, so that the target can make room for them. */
  | { do: "offer-disks" }
  /** The target is ready: find the way to it before anything is promised. */
  | { do: "open-passage" }
  /** ISSUED of this process is on record, and it has not made the call: make it. */
  | { do: "call" }
  | { do: "abort" }
  /** A look that found no job after a call whose end nobody saw; a second one follows. */
  | { do: "note-quiet" }
  | { do: "poll-progress"; convergence?: Convergence | undefined }
  | { do: "set-downtime"; milliseconds: number; convergence: Convergence }
  /** The record says that the guest is to be stopped: stop it, so that what is left can move. */
  | { do: "pause-guest" }
  /** Nothing of the guest is elsewhere, and it stands still only because of the migration: let it go on. */
  | { do: "resume-guest" }
  | { do: "start-post-copy"; why: string }
  /** Post-copy broke: break off what QEMU still believes in, and go on. */
  | { do: "mend-post-copy" }
  | { do: "say-source"; state: MigrationSourceState; message: string; also?: SourceWord };

/** What the source's report says besides its state; what is left out stays as it is. */
export type SourceWord = { mode?: MigrationMode; gaveUp?: string; standstill?: MigrationStandstill | undefined };

export const ABORT_REPEAT_MS = 1_000;
export const PROGRESS_EVERY_MS = 1_000;
/** A daemon that has just come back may not show the job yet. */
export const QUIET_MS = 3_000;
/** How long the figures of a finished transfer may come after its call has returned. */
const FIGURES_MS = 300;
const STUCK_RECHECK_MS = 2_000;
/** libvirt refuses it in some moments of a job; one that refuses for so long will not come to it. */
export const POST_COPY_REFUSALS_MAX = 10;
/** At the longest pause between two, about an hour. */
export const MENDS_MAX = 120;
const LEFTOVER_RECHECK_MS = 5_000;

/** When whoever made the call is gone, and its error with it. */
const NOTHING_MOVES_IT = "The guest is still here, and nothing moves it any more";

const ENDS: ReadonlySet<MigrationSourceState> = new Set([MigrationSourceState.STAYED, MigrationSourceState.LEFT, MigrationSourceState.ENDED]);

export function newSourceMemory(uid: string): SourceMemory {
  return {
    uid, passage: "none", offered: false, call: "none", error: "", returnedMs: undefined, quietSinceMs: undefined, abortAskedMs: undefined, abortSent: false,
    convergence: undefined, awaited: "", suspended: false, gaveUp: "", postCopyRefusals: 0, mends: undefined,
    progress: undefined, complete: false, generation: 0, said: undefined,
  };
}

export function decideSource(observed: Observed, instance: VirtualMachineInstance): SourceAction {
  const migration = instance.status!.migration;
  if (!migration) return { do: "wait" };
  const memory = sourceMemory(observed, migration);
  const own = ownDomain(observed.domain, instance);
  const state = migration.source?.state ?? MigrationSourceState.UNSPECIFIED;
  if (ENDS.has(state)) return { do: "wait" };
  if (memory.call === "outstanding") return during({ observed, migration, memory, own });
  if (migration.handedOff) return handedOff(own, memory);
  if (state === MigrationSourceState.UNSPECIFIED) return before(migration, own, memory);
  return after({ observed, migration, memory, own });
}

export const sourceMemory = ({ memory }: Pick<Observed, "memory">, { uid }: InstanceMigration): SourceMemory =>
  memory.source?.uid === uid ? memory.source : newSourceMemory(uid);

/** Nothing has been issued. ISSUED must be on record first: the call follows when the record comes back with it. */
function before(migration: InstanceMigration, own: Seen | undefined, memory: SourceMemory): SourceAction {
  if (!own || !active(own)) return say(memory, MigrationSourceState.ENDED, "The guest ended before it could be moved");
  if (memory.passage === "failed") return say(memory, MigrationSourceState.STAYED, memory.error);
  if (migration.abortRequested) return { do: "wait" };
  const isAsked = migration.copiedDisks.length > 0 && !migration.source?.disks.length;
  if (isAsked) return memory.offered ? { do: "wait" } : { do: "offer-disks" };
  if (migration.target?.state !== MigrationTargetState.READY) return { do: "wait" };
  // Whoever paused it meanwhile wants it to stand still: it would arrive so, and nobody could tell that it has arrived.
  if (own.state === "paused") return say(memory, MigrationSourceState.STAYED, "The guest is paused, and is not moved so");
  return memory.passage === "none" ? { do: "open-passage" } : say(memory, MigrationSourceState.ISSUED, "");
}

/** The call, or a job that an earlier agent started, runs. */
function during({ observed, migration, memory, own }: Issued): SourceAction {
  const { nowMs, job } = observed;
  const mode = modeOf(migration, own);
  // Nobody may hope any more to have the guest back.
  if (mode === MigrationMode.POST_COPY) return inPostCopy(migration, memory, own);
  const due = memory.abortAskedMs === undefined || nowMs - memory.abortAskedMs >= ABORT_REPEAT_MS;
  if (migration.abortRequested) return due ? { do: "abort" } : { do: "poll-progress" };
  const gaveUp = memory.gaveUp || (migration.source?.gaveUp ?? "");
  if (gaveUp !== "") return givingUp(migration, { memory, gaveUp, due });
  // Once: whoever made it run again knew that the migration was over.
  if (mode === MigrationMode.PAUSED && own?.state === "running" && job?.kind === "migration-out" && !memory.suspended) return { do: "pause-guest" };
  const sample = job && sampleOf(job);
  if (!sample || !migration.options) return { do: "poll-progress" };
  const { after, step } = converge({ before: memory.convergence, sample, mode, options: migration.options });
  switch (step.do) {
    case "go-on":
      return { do: "poll-progress", convergence: after };
    case "set-downtime":
      return { ...step, convergence: after };
    case "pause":
      return still(memory, { mode: MigrationMode.PAUSED });
    case "post-copy":
      return memory.postCopyRefusals < POST_COPY_REFUSALS_MAX
        ? { do: "start-post-copy", why: step.why }
        : givingUp(migration, { memory, gaveUp: `${step.why}; post-copy could not be begun: ${memory.error}`, due });
    case "give-up":
      return givingUp(migration, { memory, gaveUp: step.why, due });
  }
}

function inPostCopy({ source }: InstanceMigration, memory: SourceMemory, own: Seen | undefined): SourceAction {
  if (source?.mode !== MigrationMode.POST_COPY) return still(memory, { mode: MigrationMode.POST_COPY });
  const mended = source.standstill !== undefined && own?.reason === "postcopy";
  return mended ? still(memory, { standstill: undefined }) : { do: "poll-progress" };
}

/** By what libvirt shows; that a guest stands still because of us is on record before it does. */
function modeOf({ source }: InstanceMigration, own: Seen | undefined): MigrationMode {
  if (isHalved(own)) return MigrationMode.POST_COPY;
  return source?.mode === MigrationMode.PAUSED ? MigrationMode.PAUSED : MigrationMode.PRE_COPY;
}

/** The guest runs at the target, or would, and what it lacks is here. */
const isHalved = (own: Seen | undefined): boolean => own !== undefined && halved(own);

/** First it is on record why: whoever comes after this process asks for the abort, too. */
function givingUp({ source }: InstanceMigration, { memory, gaveUp, due }: { memory: SourceMemory; gaveUp: string; due: boolean }): SourceAction {
  if ((source?.gaveUp ?? "") === "") return still(memory, { gaveUp });
  return due ? { do: "abort" } : { do: "poll-progress" };
}

/** It goes on, and this is to be known of it. */
const still = (memory: SourceMemory, also: SourceWord): SourceAction =>
  memory.awaited === wordOf(also) ? { do: "poll-progress" } : { do: "say-source", state: MigrationSourceState.ISSUED, message: "", also };

/** Undefined stands for what is taken back. */
export const wordOf = (word: SourceWord): string => JSON.stringify(word, (_, value: unknown) => value ?? null);

type Issued = { observed: Observed; migration: InstanceMigration; memory: SourceMemory; own: Seen | undefined };

/** ISSUED is on record, and no call of this process is outstanding. */
function after({ observed, migration, memory, own }: Issued): SourceAction {
  const { self, job, nowMs, quietMs = QUIET_MS } = observed;
  if (memory.call === "none" && migration.source?.agentInstance === self.agentInstance) {
    if (!own || !active(own)) return say(memory, MigrationSourceState.ENDED, "The guest ended before it could be moved");
    return migration.abortRequested ? say(memory, MigrationSourceState.STAYED, "Aborted before the transfer began") : { do: "call" };
  }
  if (own?.state === "paused" && own.reason === "postcopy-failed") return broken(migration, { memory, nowMs });
  if (own && active(own) && job === undefined) return { do: "wait", recheckMs: PROGRESS_EVERY_MS };
  if (job?.kind === "migration-out") return during({ observed, migration, memory, own });
  if (memory.call !== "returned") {
    if (memory.quietSinceMs === undefined) return { do: "note-quiet" };
    const leftMs = memory.quietSinceMs + quietMs - nowMs;
    if (leftMs > 0) return { do: "wait", recheckMs: leftMs };
  }
  const figuresDue = memory.call === "returned" && memory.error === "" && !memory.complete;
  if (figuresDue && nowMs - (memory.returnedMs ?? nowMs) < FIGURES_MS) return { do: "wait", recheckMs: FIGURES_MS };
  return verdict({ observed, migration, memory, own });
}

/** Either host has a half of the guest, and neither may go. The record tells of the attempts, fewer and fewer of them. */
function broken({ source }: InstanceMigration, { memory, nowMs }: { memory: SourceMemory; nowMs: number }): SourceAction {
  const { attempts, dueMs, message } = memory.mends ?? { attempts: 0, dueMs: 0, message: memory.error };
  const told = source?.standstill;
  if (!told?.postCopyBroken || attempts >= 2 * Math.max(1, told.attempts)) {
    return still(memory, { mode: MigrationMode.POST_COPY, standstill: { postCopyBroken: true, attempts, message } });
  }
  if (attempts >= MENDS_MAX) return { do: "wait", recheckMs: STUCK_RECHECK_MS };
  return nowMs >= dueMs ? { do: "mend-post-copy" } : { do: "wait", recheckMs: dueMs - nowMs };
}

/** No job and no call: what is here says how it went. */
function verdict({ migration, memory, own }: Issued): SourceAction {
  if (!own || (own.state === "shutoff" && own.reason === "migrated")) return say(memory, MigrationSourceState.LEFT, "");
  if (!active(own)) return say(memory, MigrationSourceState.ENDED, memory.error || `The guest ended: ${own.reason}`);
  if (isHalved(own)) return { do: "wait", recheckMs: STUCK_RECHECK_MS };
  const standsStill = own.state === "paused" && (own.reason === "migration" || migration.source?.mode === MigrationMode.PAUSED);
  return standsStill ? standing(migration, memory) : say(memory, MigrationSourceState.STAYED, memory.error || NOTHING_MOVES_IT);
}

/**
 * Stopped for the switch-over, or by the policy, and not started again: whether the target runs it is for the target to
 * say. When it has nothing, and looked after this was on record, the guest goes on here.
 */
function standing({ source, target }: InstanceMigration, memory: SourceMemory): SourceAction {
  if (!source?.standstill) return still(memory, { standstill: { postCopyBroken: false, attempts: 0, message: memory.error } });
  const absent = target?.state === MigrationTargetState.ABSENT && target.peerGeneration >= source.generation;
  return absent ? { do: "resume-guest" } : { do: "wait", recheckMs: STUCK_RECHECK_MS };
}

/** The target owns the machine. What is left of it here goes by libvirt's own doing, or later by the kill rule. */
function handedOff(own: Seen | undefined, memory: SourceMemory): SourceAction {
  return own && active(own) ? { do: "wait", recheckMs: LEFTOVER_RECHECK_MS } : say(memory, MigrationSourceState.LEFT, "");
}

function say(memory: SourceMemory, state: MigrationSourceState, message: string): SourceAction {
  return memory.said === state ? { do: "wait" } : { do: "say-source", state, message };
}
