/**
 * What becomes of each of a machine's disks when it moves from one node to another. The scheduler, preflight and the record
 * of a migration all take it from here. Pure.
 */
import { DiskCache } from "../gen/drover/v1/machine.ts";
import type { PoolDisk, VirtualMachineInstanceSpec, VirtualMachineVolume } from "../gen/drover/v1/machine.ts";
import type { NodePool, NodeReport } from "../gen/drover/v1/node.ts";
import { quantityBytes } from "./quantity.ts";

/**
 * `shared`: both nodes see the same file. `copy`: its bytes are sent along with the guest's memory. `remake`: made anew from
 * the record. `present`: only read, so the target must have a file of its own, which it looks for. `blocked`: it cannot go.
 */
export type DiskTransferKind = "shared" | "copy" | "remake" | "present" | "blocked";

export type DiskTransfer = {
  /** Name of the volume in the machine's spec. */
  volume: string;
  kind: DiskTransferKind;
  /** Absent for what lies in no pool. */
  pool?: string;
  /** For `copy`: bytes that the guest sees, which is the most that can be sent. Undefined where the spec does not say. */
  bytes?: number | undefined;
  /** For `blocked`: why, as a clause. */
  reason?: string;
};

type Reports = { source: Pick<NodeReport, "pools"> | undefined; target: Pick<NodeReport, "pools"> };

/** One for each volume, in the order of the spec. */
export function diskTransfers(spec: VirtualMachineInstanceSpec, reports: Reports): DiskTransfer[] {
  const readOnly = readOnlyVolumes(spec);
  const cached = cachedVolumes(spec);
  return spec.volumes.map((volume) => transferOf(volume, { reports, isReadOnly: readOnly.has(volume.name), isCached: cached.has(volume.name) }));
}

/** Bytes of disks that are sent along, as far as the spec says how large they are. */
export function copiedBytes(spec: VirtualMachineInstanceSpec, { source, target }: { source: Reports["source"]; target: Reports["target"] | undefined }): number {
  if (!target) return 0;
  return diskTransfers(spec, { source, target }).reduce((sum, { kind, bytes = 0 }) => (kind === "copy" ? sum + bytes : sum), 0);
}

type Around = { reports: Reports; isReadOnly: boolean; isCached: boolean };

function transferOf({ name: volume, source }: VirtualMachineVolume, around: Around): DiskTransfer {
  switch (source?.$case) {
    case "disk":
      return { volume, pool: source.value.pool, ...poolDiskTransfer(source.value, around) };
    case "emptyDisk":
      return { volume, kind: "copy", bytes: quantityBytes(source.value.capacity) };
    case "cloudInitNoCloud":
      return { volume, kind: "remake" };
    case undefined:
      return { volume, kind: "blocked", reason: `volume "${volume}" has no source that is known here` };
  }
}

function poolDiskTransfer({ pool: name, size }: PoolDisk, { reports, isReadOnly, isCached }: Around): Pick<DiskTransfer, "kind" | "bytes" | "reason"> {
  const [source, target] = [usablePool(reports.source, name), usablePool(reports.target, name)];
  if (!source) return blocked(`the source does not offer the pool "${name}"`);
  if (!target) return blocked(`it does not offer the pool "${name}"`);
  // An agent of an earlier version does not say; then the target finds out when it prepares.
  if (source.path !== "" && target.path !== "" && source.path !== target.path) {
    return blocked(`its pool "${name}" is at ${target.path} and the source's at ${source.path}, and a guest's disks keep their paths`);
  }
  if (isCached) return blocked(`the disk in the pool "${name}" goes through the node's page cache`);
  if (source.id === target.id) return { kind: "shared" };
  if (isReadOnly) return { kind: "present" };
  return { kind: "copy", bytes: size === "" ? undefined : quantityBytes(size) };
}

const blocked = (reason: string) => ({ kind: "blocked" as const, reason });

/** A pool of that name that the node can use now. */
export const usablePool = (report: Pick<NodeReport, "pools"> | undefined, name: string): NodePool | undefined =>
  report?.pools.find((pool) => pool.name === name && pool.error === "" && pool.id !== "");

/** Names of the volumes that the guest cannot write to. */
export function readOnlyVolumes({ domain }: VirtualMachineInstanceSpec): ReadonlySet<string> {
  const disks = domain?.devices?.disks ?? [];
  return new Set(disks.filter(({ device }) => device?.$case === "cdrom" || (device?.$case === "disk" && device.value.readonly)).map(({ name }) => name));
}

/** Disks in pools that the guest may write to, by the volume's name. */
export function writableDisks(spec: VirtualMachineInstanceSpec): { volume: string; disk: PoolDisk }[] {
  const readOnly = readOnlyVolumes(spec);
  return spec.volumes.flatMap(({ name: volume, source }) => (source?.$case === "disk" && !readOnly.has(volume) ? [{ volume, disk: source.value }] : []));
}

/** Names of the volumes in pools that go through a node's page cache, so that another node could read what is old. */
export function cachedVolumes({ domain, volumes }: VirtualMachineInstanceSpec): ReadonlySet<string> {
  const inPool = new Set(volumes.filter(({ source }) => source?.$case === "disk").map(({ name }) => name));
  const disks = domain?.devices?.disks ?? [];
  const isCaching = (cache: DiskCache) => cache === DiskCache.WRITETHROUGH || cache === DiskCache.WRITEBACK;
  return new Set(disks.filter(({ name, cache, device }) => isCaching(cache) && device?.$case !== "cdrom" && inPool.has(name)).map(({ name }) => name));
}
