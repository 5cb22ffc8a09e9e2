/**
 * What instances take from each node. An instance counts on every node that it runs on, shall run on or is moving to, until
 * it is gone there. Pure.
 */
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { demandOf, isGone } from "../capacity.ts";

export type Load = {
  machines: number;
  memoryBytes: number;
  cpus: number;
  /** Open migrations to the node and away from it. */
  inbound: number;
  outbound: number;
};

export type Share = Load & { node: string };

export const NO_LOAD: Load = { machines: 0, memoryBytes: 0, cpus: 0, inbound: 0, outbound: 0 };

/** Nodes that an instance takes room on, or that have a say in what becomes of it. */
export function nodesOf({ status }: VirtualMachineInstance): string[] {
  const { nodeName = "", migration } = status ?? {};
  if (!migration) return nodeName === "" ? [] : [nodeName];
  return [...new Set([nodeName, migration.sourceNode, migration.targetNode])].filter((name) => name !== "");
}

/** The parts that one instance takes, one for each node. */
export function sharesOf(instance: VirtualMachineInstance): Share[] {
  const { migration } = instance.status ?? {};
  const { sourceNode, targetNode, handedOff } = migration ?? {};
  const moves = migration !== undefined && !handedOff;
  const gone = isGone(instance);
  // What its owner says is gone may still arrive where it is moving to.
  const taken = nodesOf(instance).filter((node) => !gone || (moves && node === targetNode));
  if (taken.length === 0) return [];
  const demand = demandOf(instance.spec);
  return taken.map((node) => ({ node, machines: 1, ...demand, inbound: Number(moves && node === targetNode), outbound: Number(moves && node === sourceNode) }));
}

/** Sums are whole numbers, so that taking a share out again leaves exactly what was there before. */
export const plus = (load: Load, share: Load, sign: 1 | -1 = 1): Load => ({
  machines: load.machines + sign * share.machines,
  memoryBytes: load.memoryBytes + sign * share.memoryBytes,
  cpus: load.cpus + sign * share.cpus,
  inbound: load.inbound + sign * share.inbound,
  outbound: load.outbound + sign * share.outbound,
});

/** By node, of all of these together. */
export function loadsOf(instances: Iterable<VirtualMachineInstance>): (node: string) => Load {
  const loads = new Map<string, Load>();
  for (const instance of instances) {
    for (const share of sharesOf(instance)) loads.set(share.node, plus(loads.get(share.node) ?? NO_LOAD, share));
  }
  return (node) => loads.get(node) ?? NO_LOAD;
}
