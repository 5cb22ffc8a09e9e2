/**
 * The port through which the agent sees a host's files: pools, images, and what a machine needs beside them. A user's
 * words reach it only as pool and file names; every path is made here.
 */
import type { NodePool } from "../../gen/drover/v1/node.ts";
import type { DiskCopy, OfferedDisk, VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { MachinePaths, PreparedMachine } from "../domain/parts.ts";
import type { FirmwareVariables } from "./firmware-variables.ts";
import type { Transfer, Transfers } from "./transfers.ts";

export interface Storage {
  /** Every configured pool as it is now; one that cannot be used carries its error. */
  pools(): Promise<NodePool[]>;
  /**
   * Looks into the images that the instance will need, so that `prepareDisks` has it behind it. Changes nothing and makes
   * nothing, so it may go on while it is not yet known whether the instance may start here; never fails.
   */
  inspect(instance: VirtualMachineInstance): Promise<void>;
  /** Makes what is missing, checks what is there, and takes nothing away. Safe to repeat, also after a kill. */
  prepareDisks(instance: VirtualMachineInstance): Promise<PreparedMachine>;
  /** The same for the target of a migration, whose disks must exist already. */
  prepareIncoming(instance: VirtualMachineInstance): Promise<PreparedMachine>;
  /** Removes all that lives and dies with the instance. Images in pools stay. Safe to repeat. */
  removeMachineFiles(vmiUid: string): Promise<void>;
  /** What belongs to machines rather than to their runs, and stays until it is removed. */
  readonly firmwareVariables: Pick<FirmwareVariables, "owners" | "remove">;
  /** Where the instance's files are, or would be. */
  paths(instance: { vmiUid: string; vmUid: string }): MachinePaths;
  /** Uids of the instances that have files here. */
  machines(): Promise<string[]>;
  readonly copies: DiskCopies;
  /** Parts in migrations of which something may be left in the pools. */
  readonly transfers: Transfers;
}

/** How the target of a migration will take its disks, and what it has written into the pools that are not copied. */
export type Received = { diskCopy: DiskCopy; poolProofs: Record<string, string> };

/** The disks of an open migration, at either side of it. Everything may be repeated, also after a kill. */
export interface DiskCopies {
  /** At the source: what the disks are like that are to be copied. They are kept account of from then on. */
  offer(instance: VirtualMachineInstance): Promise<OfferedDisk[]>;
  /** At the target: makes the images that the bytes come into, with room for them, and writes the proofs. */
  receive(instance: VirtualMachineInstance): Promise<Received>;
  /** At the source: throws when a pool that is not copied is another one than the target's. */
  verify(instance: VirtualMachineInstance): Promise<void>;
  /** Nothing is received meanwhile. */
  exclusively<T>(act: () => Promise<T>): Promise<T>;
  removeImage(place: { pool: string; image: string }): Promise<void>;
  hasImage(place: { pool: string; image: string }): Promise<boolean>;
  removeProofs(transfer: Pick<Transfer, "migrationUid" | "proofs">): Promise<void>;
}

/** What is at fault, as it stands in reports. */
export type StorageFault =
  | "PoolMissing"
  | "ImageMissing"
  | "InvalidName"
  /** A link, a directory or a device where an image should be. */
  | "UnsafeFile"
  | "FormatMismatch"
  /** A header that refers to other files, or claims what no image of ours would. */
  | "UnsafeImage"
  | "InvalidSize"
  | "NoSpace"
  | "FirmwareMissing"
  /** The machine needs what cannot move, such as an empty disk. */
  | "NotMigratable"
  | "ToolFailed";

/** The message is a sentence for people. */
export class StorageError extends Error {
  override name = "StorageError";
  readonly fault: StorageFault;
  constructor(fault: StorageFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}
