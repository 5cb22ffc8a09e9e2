/** Which disks of a machine reach another node, and how. Pure. */
import type { VirtualMachineInstanceSpec } from "../../gen/drover/v1/machine.ts";
import type { NodeReport } from "../../gen/drover/v1/node.ts";
import { CheckReason, CheckVerdict } from "../../gen/drover/v1/preflight.ts";
import { diskTransfers, usablePool } from "../disk-transfer.ts";
import { formatBytes } from "../quantity.ts";
import type { Fault } from "./finding.ts";

/** Names of the pools with disks of the machine, each once. */
export const diskPools = (instance: VirtualMachineInstanceSpec): string[] => [
  ...new Set(instance.volumes.flatMap(({ source }) => (source?.$case === "disk" ? [source.value.pool] : []))),
];

export type DiskInput = { instance: VirtualMachineInstanceSpec; source: NodeReport | undefined; target: NodeReport };

/** Disks in pools that the target lacks are another check's to tell. Files for a direct kernel boot may be copies. */
export function diskFault({ instance, source, target }: DiskInput): Fault {
  const transfers = diskTransfers(instance, { source, target }).filter(({ pool }) => pool === undefined || usablePool(target, pool));
  const reasons = [...new Set(transfers.flatMap(({ reason }) => reason ?? []))];
  if (reasons.length > 0) return reasons.join("; ");
  const copied = transfers.filter(({ kind }) => kind === "copy");
  if (copied.length === 0) return undefined;
  const said = copied.map(({ volume, bytes }) => (bytes === undefined ? volume : `${volume} (at most ${formatBytes(bytes)})`));
  return { verdict: CheckVerdict.WARN, reason: CheckReason.DISKS_COPIED, message: `the disks ${said.join(", ")} are copied there` };
}
