/** The fleet as one placement sees it: what each node has, what is promised to others, how it is busy. Pure. */
import type { VirtualMachineInstanceSpec } from "../../gen/drover/v1/machine.ts";
import type { Node } from "../../gen/drover/v1/node.ts";
import type { ResolvedHardware } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { capacityOf } from "../capacity.ts";
import type { Demand } from "../capacity.ts";
import type { Load } from "./load.ts";
import type { Measured } from "./measured.ts";

/** What is to be placed. */
export type Wanted = {
  instance: VirtualMachineInstanceSpec;
  /** What a former start resolved; binding for every later one. */
  hardware?: ResolvedHardware | undefined;
  demand: Demand;
  purpose: "start" | "migrate";
  /** For a migration: what it leaves, and what was asked of the target. */
  sourceNode?: Node | undefined;
  targetNode?: string | undefined;
  addedNodeSelector?: Record<string, string> | undefined;
  inboundPerNode?: number | undefined;
  /** What nodes answered, by the name of the target; absent where nobody was asked. */
  measured?: ReadonlyMap<string, Measured> | undefined;
  /** Wall time, for what ends by the calendar. */
  now?: Date | undefined;
  /** Images that exist already, with the ids of the pools that have them. */
  disks?: readonly { pool: string; poolIds: readonly string[] }[] | undefined;
  /** For a migration: images that others have on the node under the names that this machine's copies would have. */
  occupied?: ((node: Node) => readonly string[]) | undefined;
};

export type Candidate<N extends Node = Node> = {
  node: N;
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

export type Snapshot<N extends Node = Node> = readonly Candidate<N>[];

/** `loadOn` is what others take from a node. */
export function takeSnapshot<N extends Node>(nodes: readonly N[], { loadOn }: { loadOn: (node: string) => Load }): Snapshot<N> {
  return nodes.map((node) => candidateOf(node, loadOn(node.metadata?.name ?? "")));
}

export function candidateOf<N extends Node>(node: N, taken: Load): Candidate<N> {
  const { memoryBytes, cpus, machines } = capacityOf(node);
  return {
    node,
    name: node.metadata?.name ?? "",
    memoryBytes,
    freeMemoryBytes: memoryBytes - taken.memoryBytes,
    freeCpus: cpus - taken.cpus,
    freePlaces: machines - taken.machines,
    inbound: taken.inbound,
    outbound: taken.outbound,
  };
}

/** The snapshot with the machine's part of its target taken, for whoever places several at once, one after the other. */
export function booked<N extends Node>(snapshot: Snapshot<N>, target: string, { memoryBytes, cpus }: Demand): Snapshot<N> {
  return snapshot.map((candidate) => {
    if (candidate.name !== target) return candidate;
    const { freeMemoryBytes, freeCpus, freePlaces } = candidate;
    return { ...candidate, freeMemoryBytes: freeMemoryBytes - memoryBytes, freeCpus: freeCpus - cpus, freePlaces: freePlaces - 1 };
  });
}
