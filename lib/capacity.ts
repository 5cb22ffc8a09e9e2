/**
 * What an instance takes from a node's memory and what a node has to give: the controller places by it, and the API server
 * checks by the same rule when the node takes the machine. Pure.
 */
import type { VirtualMachineInstanceSpec } from "../gen/drover/v1/machine.ts";
import type { Node } from "../gen/drover/v1/node.ts";
import { DomainState } from "../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../gen/drover/v1/virtual_machine_instance.ts";
import { quantityBytes } from "./quantity.ts";

const MIB = 1024 ** 2;
/** Shares of the hypervisor process around the guest's own memory; one libvirt serves a whole node, so it is not in here. */
const PAGE_TABLES_SHARE = 512;
const HYPERVISOR_BYTES = 50 * MIB;
const PROCESSOR_BYTES = 8 * MIB;
const IO_THREAD_BYTES = 8 * MIB;
const VIDEO_BYTES = 32 * MIB;

/** Virtual processors for each processor of a host, where the administrator says nothing. */
const CPU_ALLOCATION_RATIO = 10;

export type Demand = { memoryBytes: number; cpus: number };
/** `cpus` are virtual ones; `machines` is Infinity where the administrator sets no bound. */
export type Capacity = Demand & { machines: number };

/** Specs are shared and never changed, and a node's are weighed at each claim. */
const known = new WeakMap<VirtualMachineInstanceSpec, Demand>();

export function demandOf(spec: VirtualMachineInstanceSpec | undefined): Demand {
  const weighed = spec && known.get(spec);
  if (weighed) return weighed;
  const demand = weigh(spec);
  if (spec) known.set(spec, demand);
  return demand;
}

function weigh(spec: VirtualMachineInstanceSpec | undefined): Demand {
  const { cpu, memory, devices } = spec?.domain ?? {};
  const guestBytes = memory ? quantityBytes(memory.guest) : 0;
  const cpus = (cpu?.sockets || 1) * (cpu?.cores || 1) * (cpu?.threads || 1);
  const videoBytes = devices?.autoattachGraphicsDevice === false ? 0 : VIDEO_BYTES;
  const overheadBytes = Math.ceil(guestBytes / PAGE_TABLES_SHARE) + HYPERVISOR_BYTES + PROCESSOR_BYTES * cpus + IO_THREAD_BYTES + videoBytes;
  return { memoryBytes: guestBytes + overheadBytes, cpus };
}

/** What the agent reports, at most what the administrator grants, less what the host keeps for itself. */
export function capacityOf({ spec, status }: Node): Capacity {
  const report = status?.report;
  const { maxMemory = "", maxCpus = 0, maxMachines = 0, cpuAllocationRatio = 0 } = spec ?? {};
  const machines = maxMachines === 0 ? Infinity : maxMachines;
  if (!report) return { memoryBytes: 0, cpus: 0, machines };
  const offeredBytes = report.memoryBytes - report.reservedMemoryBytes;
  return {
    memoryBytes: maxMemory === "" ? offeredBytes : Math.min(offeredBytes, quantityBytes(maxMemory)),
    cpus: (maxCpus === 0 ? report.cpus : Math.min(report.cpus, maxCpus)) * (cpuAllocationRatio || CPU_ALLOCATION_RATIO),
    machines,
  };
}

type Held = VirtualMachineInstance;
export type Room = { needed: Demand; free: Demand; /** Machines that may still come. */ places: number };
export type Around = { node: Node; others: readonly Held[]; /** Counts all of the others, as if each had taken its part. */ atWorst?: boolean };

/**
 * What a taking of the instance by the node asks for and what is left there. Others count once their taking is recorded, or
 * while they move to the node: a binding alone takes nothing, so that of two that do not fit together one comes to run.
 */
export function roomFor(instance: Held, { node, others, atWorst = false }: Around): Room {
  const name = node.metadata?.name ?? "";
  const taken = others.filter((other) => other.metadata?.uid !== instance.metadata?.uid && (atWorst || takesFrom(other, name)));
  const { memoryBytes, cpus, machines } = capacityOf(node);
  const free = { memoryBytes, cpus };
  for (const { spec } of taken) {
    const demand = demandOf(spec);
    free.memoryBytes -= demand.memoryBytes;
    free.cpus -= demand.cpus;
  }
  return { needed: demandOf(instance.spec), free, places: machines - taken.length };
}

export const isRoomy = ({ needed, free, places }: Room): boolean =>
  needed.memoryBytes <= free.memoryBytes && needed.cpus <= free.cpus && places >= 1;

function takesFrom(instance: Held, node: string): boolean {
  const { claim, migration, nodeName } = instance.status ?? {};
  const isComing = migration !== undefined && !migration.handedOff && migration.targetNode === node;
  return isComing || (nodeName === node && claim?.nodeName === node && !isGone(instance));
}

/** The owner's last word: no domain is left. An epoch that a migration burned after it still has the same owner. */
export function isGone({ status }: Held): boolean {
  const report = status?.ownerReport;
  return report?.state === DomainState.GONE && report.nodeName === status?.nodeName && report.epoch <= status.epoch;
}
