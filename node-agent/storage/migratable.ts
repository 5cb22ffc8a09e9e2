/** What of a machine's disks keeps it from moving live (pure). Asked again by the target, whatever was admitted before. */
import { DiskCache } from "../../gen/drover/v1/machine.ts";
import type { VirtualMachineInstanceSpec } from "../../gen/drover/v1/machine.ts";

/** A sentence for each hindrance; none when the machine can move. */
export function migrationHindrances(spec: VirtualMachineInstanceSpec): string[] {
  const empty = spec.volumes.filter(({ source }) => source?.$case === "emptyDisk");
  const cached = (spec.domain?.devices?.disks ?? []).filter(({ cache, device }) => isCaching(cache) && device?.$case !== "cdrom");
  return [
    ...empty.map(({ name }) => `volume "${name}" is an empty disk, which stays on its node`),
    ...cached.map(({ name }) => `disk "${name}" is cached by its node`),
  ];
}

function isCaching(cache: DiskCache): boolean {
  return cache === DiskCache.WRITETHROUGH || cache === DiskCache.WRITEBACK;
}
