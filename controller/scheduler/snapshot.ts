/**
 * The fleet as one placement sees it: what each node has, what is promised to others, how it is busy. An instance counts
 * on every node that it runs on, shall run on or is moving to, until it is gone there. Pure.
 */
import { capacityOf, demandOf } from "../../lib/capacity.ts";
import type { Instance, NodeRecord } from "../objects.ts";
import { isGone } from "../virtual-machine/run-end.ts";

export type Candidate = {
  node: NodeRecord;
  name: string;
  memoryBytes: number;
  freeMemoryBytes: number;
  freeCpus: number;
  /** Open migrations to it and away from it. */
  inbound: number;
  outbound: number;
};

export type Snapshot = readonly Candidate[];

/** `except` is the instance that is being placed: it does not stand in its own way. */
export function takeSnapshot(
  nodes: readonly NodeRecord[],
  { instancesOn, except, cpuAllocationRatio }: { instancesOn: (node: string) => readonly Instance[]; except: string; cpuAllocationRatio: number },
): Snapshot {
  return nodes.map((node) => {
    const { name } = node.metadata;
    const others = instancesOn(name).filter((instance) => instance.metadata.uid !== except && !isGone(instance));
    const { memoryBytes, cpus } = capacityOf(node);
    const taken = others.map((instance) => demandOf(instance.spec));
    return {
      node,
      name,
      memoryBytes,
      freeMemoryBytes: memoryBytes - sum(taken.map((demand) => demand.memoryBytes)),
      freeCpus: cpus * cpuAllocationRatio - sum(taken.map((demand) => demand.cpus)),
      inbound: others.filter(({ status }) => isMoving(status.migration) && status.migration?.targetNode === name).length,
      outbound: others.filter(({ status }) => isMoving(status.migration) && status.migration?.sourceNode === name).length,
    };
  });
}

const isMoving = (migration: Instance["status"]["migration"]): boolean => migration !== undefined && !migration.handedOff;

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

