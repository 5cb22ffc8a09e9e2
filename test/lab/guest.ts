/** The lab's guest: where its kernel is, and the smallest domain that boots it without Drover. */
import { copyFile } from "node:fs/promises";
import { constants } from "node:fs";
import { join } from "node:path";
import { run } from "./process.ts";

export const REPOSITORY = join(import.meta.dirname, "../..");
const BUILD_TIMEOUT_MS = 180_000;

export type Guest = {
  kernelPath: string;
  initrdPath: string;
  /** What the kernel needs on its command line to speak on the serial console. */
  kernelArguments: string;
  memoryMiB: number;
};

/** What the guest says on its console when it is up, with its boot id. */
export const GUEST_READY = /DROVER-GUEST-READY boot=([0-9a-f-]{36})/;
/** A count that only memory holds: it goes on in a moved guest and starts again in a restarted one. */
export const GUEST_TICK = /tick (\d+) uptime=([\d.]+) boot=([0-9a-f-]{36})/;
/** Byte offset on /dev/vda of the record `drover-guest boot=<boot id> count=<n>` that the guest rewrites each second. */
export const GUEST_DISK_RECORD_OFFSET = 1 << 20;
/**
 * Byte offset on /dev/vda of the entries, one in each sector, that a guest with the kernel option `log=SECONDS` appends:
 * `drover-log entry=<n> boot=<boot id> count=<since that boot> uptime=<seconds>`.
 */
export const GUEST_LOG_OFFSET = 2 << 20;
export const GUEST_LOG_ENTRY = /^drover-log entry=(\d+) boot=([0-9a-f-]{36}) count=(\d+) uptime=([\d.]+) *$/;

/** Builds the guest when it is missing or older than its sources, and puts it where every host sees it. */
export async function installGuest(poolDirectory: string): Promise<Guest> {
  await run(join(REPOSITORY, "scripts/guest.sh"), [], { timeoutMs: BUILD_TIMEOUT_MS });
  const [kernelPath, initrdPath] = [join(poolDirectory, "vmlinuz"), join(poolDirectory, "initrd.img")];
  await copyFile(join(REPOSITORY, ".cache/guest/vmlinuz"), kernelPath, constants.COPYFILE_FICLONE);
  await copyFile(join(REPOSITORY, ".cache/guest/initrd.img"), initrdPath, constants.COPYFILE_FICLONE);
  return { kernelPath, initrdPath, kernelArguments: "console=ttyS0 quiet", memoryMiB: 128 };
}

export type GuestDomain = { name: string; uuid: string; guest: Guest; consoleLog: string; diskPath?: string };

export function guestDomainXml({ name, uuid, guest, consoleLog, diskPath }: GuestDomain): string {
  const disk = diskPath
    ? `<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='${diskPath}'/><target dev='vda' bus='virtio'/></disk>`
    : "";
  return `<domain type='qemu'>
  <name>${name}</name><uuid>${uuid}</uuid>
  <memory unit='MiB'>${guest.memoryMiB}</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type>
    <kernel>${guest.kernelPath}</kernel><initrd>${guest.initrdPath}</initrd><cmdline>${guest.kernelArguments}</cmdline></os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact' check='none'><model fallback='forbid'>qemu64</model></cpu>
  <on_crash>destroy</on_crash>
  <devices>${disk}
    <controller type='usb' model='none'/>
    <serial type='file'><source path='${consoleLog}'/><target port='0'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
`;
}
