/** Disks and what stands behind them: pairing, file names that stay in their pool, sizes. Pure. */
import { DiskBus, DiskFormat } from "../../../gen/drover/v1/machine.ts";
import type { CloudInitNoCloud, Disk, PoolDisk, VirtualMachineInstanceSpec, VirtualMachineVolume } from "../../../gen/drover/v1/machine.ts";
import type { SecretValue } from "../../../gen/drover/v1/meta.ts";
import type { Fault } from "../../../lib/errors.ts";
import { dnsLabel, unique } from "../names.ts";
import { DISK_SIZE, quantityBetween } from "../quantities.ts";
import { defaultImage } from "./defaults.ts";

type Owner = { namespace: string; name: string };

/** No "/", no leading ".", no ":": nothing that QEMU or a shell could read as more than a name in the pool. */
const FILE_NAME = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$/;
const FILE_NAME_LENGTH_MAX = 128;
const POOL_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;

export function fileName(path: string, name: string): Fault[] {
  if (FILE_NAME.test(name)) return [];
  const allowed = 'must be the name of a file in the pool: 1 to 128 characters of A-Z, a-z, 0-9, "_", "." and "-", not beginning with "."';
  return [{ path, message: `${allowed}; current value is ${JSON.stringify(name)}` }];
}

export function poolName(path: string, name: string): Fault[] {
  if (POOL_NAME.test(name)) return [];
  return [{ path, message: `must be the name of a pool: 1 to 63 characters of A-Z, a-z, 0-9, "_", "." and "-"; current value is ${JSON.stringify(name)}` }];
}

export function validateDisks(path: string, spec: VirtualMachineInstanceSpec, owner: Owner): Fault[] {
  const disks = spec.domain?.devices?.disks ?? [];
  const at = `${path}.domain.devices.disks`;
  return [
    ...disks.flatMap((disk, i) => validateDisk(`${at}[${i}]`, disk, spec.volumes)),
    ...unique(disks, ({ name }) => name, (i) => `${at}[${i}].name`),
    ...spec.volumes.flatMap((volume, i) => validateVolume(`${path}.volumes[${i}]`, volume, { disks, owner })),
    ...unique(spec.volumes, ({ name }) => name, (i) => `${path}.volumes[${i}].name`),
    ...unique(spec.volumes, imageOf, (i) => `${path}.volumes[${i}].disk.image`),
  ];
}

function imageOf({ source }: VirtualMachineVolume): string | undefined {
  return source?.$case === "disk" ? `${source.value.pool}/${source.value.image}` : undefined;
}

function validateDisk(path: string, { name, device }: Disk, volumes: VirtualMachineVolume[]): Fault[] {
  const volume = volumes.find((candidate) => candidate.name === name);
  return [
    ...dnsLabel(`${path}.name`, name),
    ...(volume ? [] : [{ path: `${path}.name`, message: `must be the name of a volume: there is none called ${JSON.stringify(name)}` }]),
    ...(device?.$case === "cdrom" && device.value.bus === DiskBus.VIRTIO
      ? [{ path: `${path}.cdrom.bus`, message: "must be sata or scsi for a CD-ROM: current value is virtio" }]
      : []),
    ...(device?.$case === "disk" && device.value.bus === DiskBus.SATA && device.value.readonly
      ? [{ path: `${path}.disk.readonly`, message: "must be false on the sata bus, which has no read-only disks" }]
      : []),
    ...(device?.$case === "cdrom" && volume?.source?.$case === "emptyDisk"
      ? [{ path: `${path}.cdrom`, message: "must be a disk: an empty disk cannot be a CD-ROM" }]
      : []),
  ];
}

function validateVolume(path: string, volume: VirtualMachineVolume, { disks, owner }: { disks: Disk[]; owner: Owner }): Fault[] {
  const used = disks.some(({ name }) => name === volume.name);
  return [
    ...dnsLabel(`${path}.name`, volume.name),
    ...(used ? [] : [{ path: `${path}.name`, message: `must be used by a disk: no disk is called ${JSON.stringify(volume.name)}` }]),
    ...validateSource(path, volume, owner),
  ];
}

function validateSource(path: string, { name, source }: VirtualMachineVolume, owner: Owner): Fault[] {
  switch (source?.$case) {
    case "disk":
      return validatePoolDisk(`${path}.disk`, source.value, defaultImage(name, source.value.format, owner));
    case "emptyDisk":
      return quantityBetween(`${path}.empty_disk.capacity`, source.value.capacity, DISK_SIZE);
    case "cloudInitNoCloud":
      return validateCloudInit(`${path}.cloud_init_no_cloud`, source.value);
    case undefined:
      return [];
  }
}

/** Its characters are those of names that are checked where they stand. */
function ownFileName(path: string, name: string): Fault[] {
  if (name.length <= FILE_NAME_LENGTH_MAX) return [];
  return [{ path, message: `is required: the name made of namespace, machine and volume is longer than ${FILE_NAME_LENGTH_MAX} characters` }];
}

/** An image under the machine's own name is new at the first start, so that its size must be known. */
function validatePoolDisk(path: string, disk: PoolDisk, ownImage: string): Fault[] {
  const { pool, image, size, baseImage, format } = disk;
  const sizeMissing = size === "" && baseImage === "" && image === ownImage;
  return [
    ...poolName(`${path}.pool`, pool),
    ...(image === ownImage ? ownFileName(`${path}.image`, image) : fileName(`${path}.image`, image)),
    ...(size === "" ? [] : quantityBetween(`${path}.size`, size, DISK_SIZE)),
    ...(sizeMissing ? [{ path: `${path}.size`, message: "is required unless base_image or the image of an existing disk is given" }] : []),
    ...(baseImage === "" ? [] : fileName(`${path}.base_image`, baseImage)),
    ...(baseImage !== "" && format === DiskFormat.RAW ? [{ path: `${path}.format`, message: "must be qcow2 with a base_image" }] : []),
    ...(baseImage !== "" && baseImage === image ? [{ path: `${path}.base_image`, message: "must be another file than the image" }] : []),
  ];
}

function validateCloudInit(path: string, { userData, networkData }: CloudInitNoCloud): Fault[] {
  return [
    ...(isSet(userData) || isSet(networkData) ? [] : [{ path, message: "must have user_data or network_data" }]),
    ...notMask(`${path}.user_data.value`, userData),
    ...notMask(`${path}.network_data.value`, networkData),
  ];
}

const isSet = (secret: SecretValue | undefined) => secret !== undefined && (secret.value !== "" || secret.digest !== "");

function notMask(path: string, secret: SecretValue | undefined): Fault[] {
  return secret?.value === "***" ? [{ path, message: 'must not be "***", which stands for a value that was hidden' }] : [];
}
