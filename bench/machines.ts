/** The machines that are measured, as objects to create. */
import { DiskFormat } from "../gen/drover/v1/machine.ts";
import { RunStrategy, VirtualMachine } from "../gen/drover/v1/virtual_machine.ts";

export const NAMESPACE = "default";

type Options = { name: string; runStrategy: RunStrategy; memory: string; nodeSelector?: Record<string, string> };

/** The lab's small Linux with a disk in the shared pool: idle once it has booted. */
export function guestMachine(name: string): VirtualMachine {
  return VirtualMachine.create({
    metadata: { name },
    spec: {
      runStrategy: RunStrategy.MANUAL,
      template: {
        spec: {
          terminationGracePeriodSeconds: 60,
          domain: {
            memory: { guest: "128Mi" },
            firmware: { kernelBoot: { pool: "shared", kernel: "vmlinuz", initrd: "initrd.img", kernelArgs: "console=ttyS0 quiet" } },
            devices: { autoattachGraphicsDevice: false, disks: [{ name: "data", device: { $case: "disk", value: {} } }] },
          },
          volumes: [{ name: "data", source: { $case: "disk", value: { pool: "shared", size: "16Mi", format: DiskFormat.RAW } } }],
        },
      },
    },
  });
}

/** As small as a machine can be: the firmware finds nothing to boot. */
export function bareMachine({ name, runStrategy, memory }: Options): VirtualMachine {
  return VirtualMachine.create({
    metadata: { name },
    spec: { runStrategy, template: { spec: { domain: { memory: { guest: memory }, devices: { autoattachGraphicsDevice: false } } } } },
  });
}
