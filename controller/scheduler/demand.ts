/** What an instance takes from a node. Pure. */
import { quantityBytes } from "../../lib/quantity.ts";
import type { InstanceSpec } from "../objects.ts";

const MIB = 1024 ** 2;
/** Shares of the hypervisor process around the guest's own memory; one libvirt serves a whole node, so it is not in here. */
const PAGE_TABLES_SHARE = 512;
const HYPERVISOR_BYTES = 50 * MIB;
const PROCESSOR_BYTES = 8 * MIB;
const IO_THREAD_BYTES = 8 * MIB;
const VIDEO_BYTES = 32 * MIB;

export type Demand = { memoryBytes: number; cpus: number };

export function demandOf({ domain }: InstanceSpec): Demand {
  const guestBytes = quantityBytes(domain.memory.guest);
  const cpus = (domain.cpu?.sockets || 1) * (domain.cpu?.cores || 1) * (domain.cpu?.threads || 1);
  const videoBytes = domain.devices?.autoattachGraphicsDevice === false ? 0 : VIDEO_BYTES;
  const overheadBytes = Math.ceil(guestBytes / PAGE_TABLES_SHARE) + HYPERVISOR_BYTES + PROCESSOR_BYTES * cpus + IO_THREAD_BYTES + videoBytes;
  return { memoryBytes: guestBytes + overheadBytes, cpus };
}
