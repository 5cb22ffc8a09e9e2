/** Instances and host parts to build domains from; every field can be replaced. */
import { DiskBus, Disk, Interface, Network, VirtualMachineVolume } from "../../../../gen/drover/v1/machine.ts";
import type { VirtualMachineInstanceSpec } from "../../../../gen/drover/v1/machine.ts";
import { VirtualMachineInstance } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import type { DiskSource, DomainParts, PreparedMachine } from "../../../../node-agent/domain/parts.ts";

export const VMI_UID = "11111111-2222-4333-8444-555555555555";
export const VM_UID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
export const DOMAIN_UUID = "5a6b0b2e-0e0c-4f5e-9d3a-0a4b8c1d2e3f";

type Spec = Parameters<typeof VirtualMachineInstanceSpec.create>[0];
type Domain = NonNullable<NonNullable<Spec>["domain"]>;

export function instance(domain: Domain = {}, rest: Omit<NonNullable<Spec>, "domain"> = {}): VirtualMachineInstance {
  return VirtualMachineInstance.create({
    metadata: { name: "web", namespace: "default", uid: VMI_UID, ownerReferences: [{ kind: "VirtualMachine", name: "web", uid: VM_UID }] },
    spec: { ...rest, domain: { memory: { guest: "128Mi" }, ...domain, firmware: { uuid: DOMAIN_UUID, ...domain.firmware } } },
    status: { epoch: 3, machineGeneration: 7, hardware: { cpuModel: "qemu64", machineType: "pc-q35-7.2" } },
  });
}

export function prepared(replace: Partial<PreparedMachine> = {}): PreparedMachine {
  const directory = `/var/lib/drover/machines/${VMI_UID}`;
  return {
    paths: {
      directory,
      consoleSocket: `${directory}/console.sock`,
      consoleLog: `${directory}/console.log`,
      nvram: `/var/lib/drover/nvram/${VM_UID}.fd`,
    },
    disks: {},
    ...replace,
  };
}

export function parts(replace: Partial<DomainParts> = {}): DomainParts {
  return {
    instance: instance(),
    prepared: prepared(),
    epoch: 3,
    accelerator: "qemu",
    emulator: "/usr/bin/qemu-system-x86_64",
    architecture: "x86_64",
    ...replace,
  };
}

const source = (path: string, replace: Partial<DiskSource> = {}): DiskSource => ({ path, format: "qcow2", kind: "pool", ...replace });

/** A machine that has one of everything. */
export function everything({ machineType, pool }: { machineType: string; pool: string }): DomainParts {
  const names = ["root", "data", "more", "cd", "seed"];
  const made = instance(
    {
      cpu: { sockets: 1, cores: 2, threads: 1 },
      firmware: { serial: "SN 1" },
      clock: { base: { $case: "timezone", value: "Europe/Berlin" } },
      devices: {
        disks: [
          Disk.create({ name: "root", bootOrder: 1, serial: "abc" }),
          Disk.create({ name: "data", device: { $case: "disk", value: { bus: DiskBus.SCSI } } }),
          Disk.create({ name: "more", device: { $case: "disk", value: { bus: DiskBus.SATA } } }),
          Disk.create({ name: "cd", device: { $case: "cdrom", value: {} } }),
          Disk.create({ name: "seed", device: { $case: "cdrom", value: { bus: DiskBus.SCSI } } }),
        ],
        interfaces: [Interface.create({ name: "net", macAddress: "02:00:00:00:00:01" }), Interface.create({ name: "old", macAddress: "02:00:00:00:00:02", model: 2 })],
        rng: {},
      },
    },
    {
      volumes: names.map((name) => VirtualMachineVolume.create({ name })),
      networks: ["net", "old"].map((name) => Network.create({ name, source: { $case: "user", value: {} } })),
    },
  );
  made.status!.hardware!.machineType = machineType;
  return parts({
    instance: made,
    prepared: prepared({
      disks: {
        root: source(`${pool}/root.qcow2`, { base: { path: `${pool}/base.qcow2`, format: "qcow2" } }),
        data: source(`${pool}/data.raw`, { format: "raw" }),
        more: source(`${pool}/more.qcow2`, { kind: "empty" }),
        cd: source(`${pool}/cd.iso`, { format: "raw" }),
        seed: source(`${pool}/seed.iso`, { format: "raw", kind: "seed" }),
      },
    }),
  });
}
