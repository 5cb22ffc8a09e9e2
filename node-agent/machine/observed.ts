/**
 * What a machine's driver has before it when it decides: the record as last assigned, the domain as libvirt shows it,
 * and what this agent process has done so far. Everything that a decision reads is in here, so equal observations
 * give equal decisions.
 */
import type { Assignment, LookupMachineResponse } from "../../gen/drover/agent/v1/agent.ts";
import type { BootIdentity } from "../../gen/drover/v1/meta.ts";
import type {
  DomainState, MigrationProgress, MigrationSourceState, MigrationTargetState, VirtualMachineInstance,
} from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { InstanceMetadata } from "../domain/metadata.ts";
import type { Domain, JobStats } from "../libvirt/hypervisor.ts";
import type { Convergence } from "../migration/convergence.ts";
import type { Received } from "../storage/storage.ts";

/** Which run a domain belongs to, as its metadata says. */
export type InstanceIdentity = InstanceMetadata;

export type Seen = Pick<Domain, "uuid" | "name" | "state" | "reason" | "persistent"> & { identity?: InstanceIdentity | undefined };

export type Self = { nodeName: string; boot: BootIdentity; agentInstance: string };

/** How a run ended. Kept on disk before the domain is undefined, because afterwards nothing else knows. */
export type Ending = { vmiUid: string; reason: string; message: string };

/** What the owner says of a running machine. */
export type OwnerWord = { state: DomainState; reason: string; pausedReason: string };

/** The libvirt URI that leads to the target's door, and the name that QEMU has behind it. */
export type Passage = { uri: string; tlsDestination: string };

/** The source's half of one migration, in this process. */
export type SourceMemory = {
  uid: string;
  /** How libvirt here reaches the target's libvirt; `failed` when it does not, with the reason in `error`. */
  passage: Passage | "none" | "failed";
  /** What the disks are like that are to be copied has been said. */
  offered: boolean;
  /** `none`: this process has not made the call. `lost`: it ended without a verdict, as the daemon or driver was lost. */
  call: "none" | "outstanding" | "returned" | "lost";
  error: string;
  returnedMs: number | undefined;
  /** First of the two looks that found no job. */
  quietSinceMs: number | undefined;
  abortAskedMs: number | undefined;
  abortSent: boolean;
  /** What the figures so far say of its convergence. */
  convergence: Convergence | undefined;
  /** This source has given up by itself, and why; empty otherwise. */
  gaveUp: string;
  /** What was said besides the state and has not come back in the record yet. */
  awaited: string;
  /** This process has stopped the guest for the migration. */
  suspended: boolean;
  /** How often libvirt would not switch to post-copy. */
  postCopyRefusals: number;
  /** Attempts to go on with a post-copy that broke, and when the next one is due. */
  mends: { attempts: number; dueMs: number; message: string } | undefined;
  progress: MigrationProgress | undefined;
  /** The progress holds the figures that libvirt gives after a success. */
  complete: boolean;
  generation: number;
  said: MigrationSourceState | undefined;
};

export type TargetMemory = {
  uid: string;
  prepared: boolean;
  door: string;
  received: Received | undefined;
  generation: number;
  said: MigrationTargetState | undefined;
  saidPeer: number;
};

export type Memory = {
  /** This process has asked libvirt to start the guest of this run. */
  started: boolean;
  ended: Ending | undefined;
  stop: { sinceMs: number; askedMs: number | undefined } | undefined;
  reported: OwnerWord | undefined;
  /** Resource version of the record whose report or claim was refused: nothing is repeated until the record changes. */
  refusedAt: string | undefined;
  source: SourceMemory | undefined;
  target: TargetMemory | undefined;
};

export const newMemory = (): Memory => ({
  started: false, ended: undefined, stop: undefined, reported: undefined, refusedAt: undefined, source: undefined, target: undefined,
});

export type Observed = {
  self: Self;
  /** Absent when no record concerns this node. Read before the domain, so that the domain's state is never older. */
  assignment: Assignment | undefined;
  domain: Seen | undefined;
  /** Read only while a migration is open; undefined also when libvirt could not say. */
  job: JobStats | undefined;
  memory: Readonly<Memory>;
  /** Answer to a look-up that was made after the domain had been seen. */
  lookup: LookupMachineResponse | undefined;
  /** Every assignment of this session and every domain of this host has been seen at least once. */
  synced: boolean;
  /** The control plane is not the one that this node belongs to. */
  hold: boolean;
  nowMs: number;
  /** How far apart two looks are that both find no job; QUIET_MS when absent. */
  quietMs?: number | undefined;
};

export const sameBoot = (a: BootIdentity | undefined, b: BootIdentity): boolean =>
  a !== undefined && a.kernelBootId === b.kernelBootId && a.pid1StartTime === b.pid1StartTime;

export const instanceUid = (instance: VirtualMachineInstance): string => instance.metadata?.uid ?? "";
export const domainUuid = (instance: VirtualMachineInstance): string => instance.spec?.domain?.firmware?.uuid.toLowerCase() ?? "";

/** The uid of the machine that the run belongs to: its owner, or itself when nobody made it. */
export const machineUid = (instance: VirtualMachineInstance): string =>
  instance.metadata?.ownerReferences.find(({ kind }) => kind === "VirtualMachine")?.uid ?? instanceUid(instance);

/** The domain, if it is that run's. */
export const ownDomain = (domain: Seen | undefined, instance: VirtualMachineInstance): Seen | undefined =>
  domain?.identity?.vmiUid === instance.metadata!.uid ? domain : undefined;

/** A guest, or what is left of one, holds the domain: QEMU runs. */
export const active = (domain: Seen): boolean => domain.state !== "shutoff" && domain.state !== "nostate" && domain.state !== "crashed";

/** In post-copy a part of the guest's memory is at another host: this one has a half, whether that runs or stands still. */
export const halved = (domain: Seen): boolean => active(domain) && domain.reason.startsWith("postcopy");
