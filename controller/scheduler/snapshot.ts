/** The fleet as one placement sees it: what each node has, what is promised to others, how it is busy. Pure. */
import { capacityOf } from "../../lib/capacity.ts";
import type { NodeRecord } from "../objects.ts";
import type { Load } from "./load.ts";

export type Candidate = {
  node: NodeRecord;
  name: string;
  memoryBytes: number;
  freeMemoryBytes: number;
  freeCpus: number;
  /** Machines that may still come there. */
  freePlaces: number;
  /** Open migrations to it and away from it. */
  inbound: number;
  outbound: number;
};

export type Snapshot = readonly Candidate[];

/** `loadOn` is what others take from a node. */
export function takeSnapshot(
  nodes: readonly NodeRecord[],
  { loadOn }: { loadOn: (node: string) => Load },
): Snapshot {
  return nodes.map((node) => {
    const { name } = node.metadata;
    const { memoryBytes, cpus, machines } = capacityOf(node);
    const taken = loadOn(name);
    return {
      node,
      name,
      memoryBytes,
      freeMemoryBytes: memoryBytes - taken.memoryBytes,
      freeCpus: cpus - taken.cpus,
      freePlaces: machines - taken.machines,
      inbound: taken.inbound,
      outbound: taken.outbound,
    };
  });
}
