/**
 * The target's half of a migration, pure: get ready, watch the domain arrive, and say with proof that nothing came.
 */
import { MigrationSourceState, MigrationTargetState } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { InstanceMigration, VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { active, halved, ownDomain } from "../machine/observed.ts";
import type { Observed, Seen, TargetMemory } from "../machine/observed.ts";

export type TargetAction =
  | { do: "wait"; recheckMs?: number }
  /** Pools, seed image, directories, the door; then READY or REFUSED. */
  | { do: "prepare-incoming" }
  /** The source's half of the guest is lost, and with it this one: what is left here can never run on. */
  | { do: "drop-half" }
  | { do: "say-target"; state: MigrationTargetState; message: string; peerGeneration: number };

const ARRIVAL_RECHECK_MS = 2_000;

export function newTargetMemory(uid: string): TargetMemory {
  return { uid, prepared: false, door: "", received: undefined, generation: 0, said: undefined, saidPeer: 0 };
}

export const targetMemory = ({ memory }: Pick<Observed, "memory">, { uid }: InstanceMigration): TargetMemory =>
  memory.target?.uid === uid ? memory.target : newTargetMemory(uid);

export function decideTarget(observed: Observed, instance: VirtualMachineInstance): TargetAction {
  const migration = instance.status!.migration;
  if (!migration) return { do: "wait" };
  const memory = targetMemory(observed, migration);
  const state = migration.target?.state ?? MigrationTargetState.UNSPECIFIED;
  if (state === MigrationTargetState.RUNNING) return { do: "wait" };
  const own = ownDomain(observed.domain, instance);
  const here = own?.identity?.epoch === migration.targetEpoch ? own : undefined;
  if (here && halved(here) && migration.source?.state === MigrationSourceState.ENDED) return { do: "drop-half" };
  if (here) return hasArrived(here) ? say(memory, MigrationTargetState.RUNNING, migration) : { do: "wait", recheckMs: ARRIVAL_RECHECK_MS };
  if (sourceIsDone(migration)) return absent(memory, migration);
  if (state === MigrationTargetState.REFUSED) return { do: "wait" };
  // A record of an earlier agent or boot would hand the machine to a claim that nobody holds.
  const stale = migration.target?.agentInstance !== observed.self.agentInstance;
  const isOffered = migration.copiedDisks.length === 0 || (migration.source?.disks.length ?? 0) > 0;
  if (!memory.prepared && stale && isOffered && !issued(migration)) return { do: "prepare-incoming" };
  return { do: "wait", recheckMs: ARRIVAL_RECHECK_MS };
}

/** It runs, or it ran here to its end before anybody looked. A guest that stands still for the switch-over has not arrived. */
function hasArrived(here: Seen): boolean {
  // A half is the source's until all is here.
  if (halved(here)) return false;
  if (here.state === "paused") return !["migration", "starting-up", "unknown"].includes(here.reason);
  return active(here) || (here.persistent && here.reason !== "failed");
}

/** Nothing more will come: the source says so, it asks whether anything has, or it has not begun and must not. */
function sourceIsDone({ source, abortRequested }: InstanceMigration): boolean {
  const state = source?.state ?? MigrationSourceState.UNSPECIFIED;
  if (source?.standstill?.postCopyBroken === false) return true;
  return state === MigrationSourceState.UNSPECIFIED ? abortRequested : state !== MigrationSourceState.ISSUED;
}

const issued = ({ source }: InstanceMigration): boolean => (source?.state ?? MigrationSourceState.UNSPECIFIED) !== MigrationSourceState.UNSPECIFIED;

/** The record was read before the domain was looked for, so the source's generation in it is proof. */
function absent(memory: TargetMemory, migration: InstanceMigration): TargetAction {
  const peerGeneration = migration.source?.generation ?? 0;
  const recorded = migration.target?.state === MigrationTargetState.ABSENT && migration.target.peerGeneration >= peerGeneration;
  if (recorded || (memory.said === MigrationTargetState.ABSENT && memory.saidPeer >= peerGeneration)) return { do: "wait" };
  return { do: "say-target", state: MigrationTargetState.ABSENT, message: "", peerGeneration };
}

function say(memory: TargetMemory, state: MigrationTargetState, migration: InstanceMigration): TargetAction {
  if (memory.said === state) return { do: "wait" };
  return { do: "say-target", state, message: "", peerGeneration: migration.source?.generation ?? 0 };
}
