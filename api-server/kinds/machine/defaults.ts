/** What a machine has where its owner said nothing. Pure and repeatable: what stands is never overwritten. */
import { createHash } from "node:crypto";
import {
  ClockSpec, CpuSpec, DevicesSpec, DiskBus, DiskCache, DiskFormat, DomainSpec, EvictionStrategy, FirmwareSpec, InterfaceModel,
  TolerationOperator,
} from "../../../gen/drover/v1/machine.ts";
import type {
  Disk, Interface, Network, PoolDisk, Toleration, VirtualMachineInstanceSpec, VirtualMachineVolume,
} from "../../../gen/drover/v1/machine.ts";

export type MachineIdentity = {
  namespace: string;
  name: string;
  /** Uid of the object that the machine belongs to; MAC addresses follow from it. */
  uid: string;
  /** For a machine that has no firmware UUID yet. */
  firmwareUuid: () => string;
};

const GRACE_PERIOD_SECONDS = 30;

export function machineDefaults(spec: VirtualMachineInstanceSpec, identity: MachineIdentity): VirtualMachineInstanceSpec {
  return {
    ...spec,
    domain: domainDefaults(spec.domain ?? DomainSpec.create(), spec.networks, identity),
    volumes: spec.volumes.map((volume) => volumeDefaults(volume, identity)),
    tolerations: spec.tolerations.map(tolerationDefaults),
    evictionStrategy: spec.evictionStrategy || EvictionStrategy.NONE,
    terminationGracePeriodSeconds: spec.terminationGracePeriodSeconds ?? GRACE_PERIOD_SECONDS,
  };
}

function domainDefaults(domain: DomainSpec, networks: Network[], identity: MachineIdentity): DomainSpec {
  const cpu = domain.cpu ?? CpuSpec.create();
  const firmware = domain.firmware ?? FirmwareSpec.create();
  const devices = domain.devices ?? DevicesSpec.create();
  return {
    ...domain,
    cpu: { ...cpu, sockets: cpu.sockets || 1, cores: cpu.cores || 1, threads: cpu.threads || 1 },
    firmware: {
      ...firmware,
      uuid: (firmware.uuid || identity.firmwareUuid()).toLowerCase(),
      bootloader: firmware.bootloader ?? { firmware: { $case: "bios", value: {} } },
    },
    clock: domain.clock?.base ? domain.clock : { ...(domain.clock ?? ClockSpec.create()), base: { $case: "utc", value: {} } },
    devices: {
      ...devices,
      disks: devices.disks.map(diskDefaults),
      interfaces: devices.interfaces.map((card) => interfaceDefaults(card, networks, identity.uid)),
      autoattachSerialConsole: devices.autoattachSerialConsole ?? true,
      autoattachGraphicsDevice: devices.autoattachGraphicsDevice ?? true,
    },
  };
}

function diskDefaults(disk: Disk): Disk {
  const device = disk.device ?? { $case: "disk", value: { bus: DiskBus.UNSPECIFIED, readonly: false } };
  const cache = disk.cache || DiskCache.NONE;
  return device.$case === "disk"
    ? { ...disk, cache, device: { $case: "disk", value: { ...device.value, bus: device.value.bus || DiskBus.VIRTIO } } }
    : { ...disk, cache, device: { $case: "cdrom", value: { ...device.value, bus: device.value.bus || DiskBus.SATA } } };
}

function interfaceDefaults(card: Interface, networks: Network[], uid: string): Interface {
  const source = networks.find(({ name }) => name === card.name)?.source?.$case;
  const onLayer2 = source === "bridge" || source === "libvirt";
  return {
    ...card,
    binding: card.binding ?? (onLayer2 ? { $case: "bridge", value: {} } : { $case: "masquerade", value: {} }),
    model: card.model || InterfaceModel.VIRTIO,
    macAddress: (card.macAddress || macAddressOf(uid, card.name)).toLowerCase(),
  };
}

/** The same card of the same machine always has the same address. Locally administered and unicast. */
export function macAddressOf(uid: string, interfaceName: string): string {
  const bytes = createHash("sha256").update(`${uid}/${interfaceName}`).digest().subarray(0, 6);
  bytes[0] = (bytes[0]! & 0xfc) | 0x02;
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}

function volumeDefaults(volume: VirtualMachineVolume, identity: MachineIdentity): VirtualMachineVolume {
  if (volume.source?.$case !== "disk") return volume;
  const disk = volume.source.value;
  const format = disk.format || DiskFormat.QCOW2;
  const baseFormat = disk.baseFormat || (disk.baseImage === "" ? DiskFormat.UNSPECIFIED : DiskFormat.QCOW2);
  const image = disk.image || defaultImage(volume.name, format, identity);
  return { ...volume, source: { $case: "disk", value: { ...disk, format, baseFormat, image } satisfies PoolDisk } };
}

/** A machine's own image; its size is required, as nothing else could say it. */
export function defaultImage(volume: string, format: DiskFormat, { namespace, name }: { namespace: string; name: string }): string {
  return `${namespace}_${name}_${volume}.${format === DiskFormat.RAW ? "raw" : "qcow2"}`;
}

function tolerationDefaults(toleration: Toleration): Toleration {
  return { ...toleration, operator: toleration.operator || TolerationOperator.EQUAL };
}
