/** The machines that are measured, as objects to create. */
import { DiskFormat } from "../gen/drover/v1/machine.ts";
import { RunStrategy, VirtualMachine } from "../gen/drover/v1/virtual_machine.ts";

export const NAMESPACE = "default";

type BareOptions = { name: string; runStrategy: RunStrategy; memory: string };

type GuestOptions = { hasDisk?: boolean; /** Memory that it keeps writing, in MiB, and how many of them a second. */ dirty?: { mebibytes: number; perSecond: number } };

/** The lab's small Linux, idle once it has booted unless it is to dirty its memory, with a disk in the shared pool unless it says otherwise. */
export function guestMachine(name: string, { hasDisk = true, dirty }: GuestOptions = {}): VirtualMachine {
  const dirtying = dirty === undefined ? "" : ` dirty=${dirty.mebibytes},${dirty.perSecond}`;
  return VirtualMachine.create({
    metadata: { name },
    spec: {
      runStrategy: RunStrategy.MANUAL,
      template: {
        spec: {
          terminationGracePeriodSeconds: 60,
          domain: {
            memory: { guest: "128Mi" },
            firmware: { kernelBoot: { pool: "shared", kernel: "vmlinuz", initrd: "initrd.img", kernelArgs: `console=ttyS0 quiet${dirtying}` } },
            devices: { autoattachGraphicsDevice: false, disks: hasDisk ? [{ name: "data", device: { $case: "disk", value: {} } }] : [] },
          },
          volumes: hasDisk ? [{ name: "data", source: { $case: "disk", value: { pool: "shared", size: "16Mi", format: DiskFormat.RAW } } }] : [],
        },
      },
    },
  });
}

/** As small as a machine can be: the firmware finds nothing to boot, and nobody has to be asked to stop. */
export function bareMachine({ name, runStrategy, memory }: BareOptions): VirtualMachine {
  return VirtualMachine.create({
    metadata: { name },
    spec: { runStrategy, template: { spec: { terminationGracePeriodSeconds: 0, domain: { memory: { guest: memory }, devices: { autoattachGraphicsDevice: false } } } } },
  });
}
