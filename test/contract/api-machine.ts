/** A machine that uses every part of the spec, for tests that break one part of it at a time. */
import { createHash } from "node:crypto";
import { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import type { DeepPartial } from "../../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachineInstanceSpec } from "../../gen/drover/v1/machine.ts";
import type { ObjectMeta } from "../../gen/drover/v1/meta.ts";

export const SPEC = "virtual_machine.spec.template.spec";

/** Four hexadecimal digits that tell one name from another: no two machines may share an address or a firmware UUID. */
const digitsOf = (name: string): string => createHash("sha256").update(name).digest("hex").slice(0, 4);
const macOf = (name: string, card: number): string => `02:00:00:${digitsOf(name).replace(/^../, "$&:")}:0${card}`;
export const firmwareUuidOf = (name: string): string => `5a6b0b2e-${digitsOf(name)}-4f5e-9d3a-0a4b8c1d2e3f`;

const parts = (name: string): DeepPartial<VirtualMachineInstanceSpec> => ({
  domain: {
    cpu: { sockets: 1, cores: 2, threads: 1, model: "qemu64" },
    memory: { guest: "64Mi" },
    machine: { type: "q35" },
    firmware: {
      uuid: firmwareUuidOf(name),
      serial: "S-1",
      bootloader: { firmware: { $case: "bios", value: {} } },
      kernelBoot: { pool: "default", kernel: "vmlinuz", initrd: "initrd.img", kernelArgs: "console=ttyS0" },
    },
    clock: { base: { $case: "timezone", value: "Europe/Berlin" } },
    devices: {
      disks: [
        { name: "root", bootOrder: 1, serial: "R00T", device: { $case: "disk", value: {} } },
        { name: "scratch", device: { $case: "disk", value: {} } },
        { name: "seed", device: { $case: "cdrom", value: {} } },
      ],
      interfaces: [
        { name: "lan", macAddress: macOf(name, 1), bootOrder: 2 },
        { name: "virt", macAddress: macOf(name, 2) },
        { name: "out" },
      ],
      rng: {},
    },
  },
  volumes: [
    { name: "root", source: { $case: "disk", value: { pool: "default", image: "root.qcow2", size: "1Gi", baseImage: "debian.qcow2" } } },
    { name: "scratch", source: { $case: "emptyDisk", value: { capacity: "1Gi" } } },
    { name: "seed", source: { $case: "cloudInitNoCloud", value: { userData: { value: "#cloud-config" }, networkData: { value: "version: 2" } } } },
  ],
  networks: [
    { name: "lan", source: { $case: "bridge", value: { bridgeName: "br0" } } },
    { name: "virt", source: { $case: "libvirt", value: { networkName: "default" } } },
    { name: "out", source: { $case: "user", value: {} } },
  ],
  nodeSelector: { zone: "a" },
  tolerations: [{ key: "gpu", value: "yes" }],
});

export function wholeMachine(metadata: DeepPartial<ObjectMeta> = { name: "web" }): VirtualMachine {
  return VirtualMachine.create({
    metadata: { labels: { app: "web" }, annotations: { note: "one" }, ...metadata },
    spec: { runStrategy: 3, template: { metadata: { labels: { tier: "front" }, annotations: { note: "two" } }, spec: parts(metadata.name ?? "") } },
  });
}

export type MachineSpec = VirtualMachineInstanceSpec;

/** The whole machine with something changed in its template's spec. */
export function changed(change: (spec: MachineSpec) => void): VirtualMachine {
  const machine = wholeMachine();
  change(machine.spec!.template!.spec!);
  return machine;
}
