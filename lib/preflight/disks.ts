/** Which disks of a machine reach another node, and how. Pure. */
import type { VirtualMachineInstanceSpec } from "../../gen/drover/v1/machine.ts";
import type { NodePool, NodeReport } from "../../gen/drover/v1/node.ts";
import type { Fault } from "./finding.ts";

/** Names of the pools with disks of the machine, each once. */
export const diskPools = (instance: VirtualMachineInstanceSpec): string[] => [
  ...new Set(instance.volumes.flatMap(({ source }) => (source?.$case === "disk" ? [source.value.pool] : []))),
];

export const usable = (report: NodeReport, name: string): NodePool | undefined =>
  report.pools.find((pool) => pool.name === name && pool.error === "" && pool.id !== "");

export type DiskInput = { instance: VirtualMachineInstanceSpec; source: NodeReport | undefined; target: NodeReport };

/** "shared": both nodes see the very same pool, so that nothing is moved. "none": the target has one, and it is another. */
export type DiskTransfer = { pool: string; how: "shared" | "none" };

/** For each pool with disks that the target has at all. Files for a direct kernel boot may be copies. */
export function diskTransfer({ instance, source, target }: DiskInput): DiskTransfer[] {
  return diskPools(instance).flatMap((pool): DiskTransfer[] => {
    const there = usable(target, pool);
    if (!there) return [];
    return [{ pool, how: source?.pools.find(({ name }) => name === pool)?.id === there.id ? "shared" : "none" }];
  });
}

/** The disks' bytes are not moved, so both nodes must see the same pool. */
export function diskFault(input: DiskInput): Fault {
  const apart = diskTransfer(input).filter(({ how }) => how === "none").map(({ pool }) => pool);
  return apart.length > 0 ? `its pools ${apart.join(", ")} are not those of the source` : undefined;
}
