/** How a machine boots: board, firmware, kernel, and what the firmware tells the guest of itself (pure). */
import type { FirmwareSpec } from "../../gen/drover/v1/machine.ts";
import type { Board } from "./board.ts";
import { element, InvalidDomain } from "./element.ts";
import type { Element } from "./element.ts";
import type { PreparedMachine } from "./parts.ts";

export type FirmwareChoice = {
  spec: FirmwareSpec | undefined;
  board: Board;
  architecture: string;
  prepared: PreparedMachine;
  /** Some disk or interface has a boot order, so the firmware is told no order of its own. */
  isOrdered: boolean;
};

export function firmware({ spec, board, architecture, prepared, isOrdered }: FirmwareChoice): Element {
  return element("os", {}, [
    element("type", { arch: architecture, machine: board.machineType }, ["hvm"]),
    ...(spec?.bootloader?.firmware?.$case === "efi" ? efi(prepared) : []),
    ...(spec?.kernelBoot === undefined ? [] : kernelBoot(prepared, spec.kernelBoot.kernelArgs)),
    ...(isOrdered ? [] : ["hd", "cdrom", "network"].map((dev) => element("boot", { dev }))),
    ...(spec?.serial ? [element("smbios", { mode: "sysinfo" })] : []),
  ]);
}

function efi({ firmware, paths }: PreparedMachine): Element[] {
  if (firmware === undefined) throw new InvalidDomain("Cannot boot with EFI: the node has no OVMF firmware");
  return [
    element("loader", { readonly: "yes", type: "pflash" }, [firmware.loader]),
    element("nvram", { template: firmware.nvramTemplate }, [paths.nvram]),
  ];
}

function kernelBoot({ kernel }: PreparedMachine, commandLine: string): Element[] {
  if (kernel === undefined) throw new InvalidDomain("Cannot boot the kernel: its files are not prepared");
  return [
    element("kernel", {}, [kernel.kernel]),
    ...(kernel.initrd === undefined ? [] : [element("initrd", {}, [kernel.initrd])]),
    ...(commandLine === "" ? [] : [element("cmdline", {}, [commandLine])]),
  ];
}

/** libvirt fills in the uuid by itself, and insists that one given here is the domain's. */
export function systemInformation(spec: FirmwareSpec | undefined): Element[] {
  if (!spec?.serial) return [];
  return [element("sysinfo", { type: "smbios" }, [element("system", {}, [element("entry", { name: "serial" }, [spec.serial])])])];
}
