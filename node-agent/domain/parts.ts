/** What a domain is built from besides the instance: decided by the host, never by a user (types only). */
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";

/** Files of one machine, all below directories that are named by uids. */
export type MachinePaths = {
  directory: string;
  consoleSocket: string;
  consoleLog: string;
  nvram: string;
};

export type ImageFormat = "qcow2" | "raw";

export type DiskSource = {
  path: string;
  format: ImageFormat;
  /** Made for this run and gone with it; the guest may not write to a seed. */
  kind: "pool" | "empty" | "seed";
  /** The image that this one overlays. It has none of its own. */
  base?: { path: string; format: ImageFormat };
};

/** The two halves of OVMF. */
export type FirmwareFiles = { loader: string; nvramTemplate: string };

/** Everything of a machine that stands ready on the host. */
export type PreparedMachine = {
  paths: MachinePaths;
  /** By name of the volume. */
  disks: Readonly<Record<string, DiskSource>>;
  kernel?: { kernel: string; initrd?: string };
  firmware?: FirmwareFiles;
};

export type Accelerator = "kvm" | "qemu";

export type DomainParts = {
  instance: VirtualMachineInstance;
  prepared: PreparedMachine;
  /** Epoch that the domain carries. */
  epoch: number;
  accelerator: Accelerator;
  /** From the host's inventory. */
  emulator: string;
  architecture: string;
};
