/**
 * What instances take from each node, as running sums: a placement asks for every node's sum, and must not cost more for
 * each machine that the fleet has. An instance counts on every node that it runs on, shall run on or is moving to, until
 * it is gone there.
 */
import { demandOf } from "../../lib/capacity.ts";
import type { Cache } from "../cache.ts";
import { keyOf } from "../objects.ts";
import type { Instance } from "../objects.ts";
import { isGone } from "../virtual-machine/run-end.ts";

export type Load = {
  machines: number;
  memoryBytes: number;
  cpus: number;
  /** Open migrations to the node and away from it. */
  inbound: number;
  outbound: number;
};

export type Share = Load & { node: string };

const NO_LOAD: Load = { machines: 0, memoryBytes: 0, cpus: 0, inbound: 0, outbound: 0 };

/** Nodes that an instance takes room on, or that have a say in what becomes of it. */
export function nodesOf({ status }: Instance): string[] {
  const { nodeName, migration } = status;
  if (!migration) return nodeName === "" ? [] : [nodeName];
  return [...new Set([nodeName, migration.sourceNode, migration.targetNode])].filter((name) => name !== "");
}

/** The parts that one instance takes, one for each node. Pure. */
export function sharesOf(instance: Instance): Share[] {
  const { migration } = instance.status;
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

export class FleetLoad {
  readonly #nodes = new Map<string, Load>();
  readonly #shares = new Map<string, readonly Share[]>();

  /** Follows the cache from its first object on. */
  constructor(instances: Pick<Cache<Instance>, "onChange">) {
    instances.onChange(({ key, after }) => this.#replace(key, after ? sharesOf(after) : []));
  }

  on(node: string): Load {
    return this.#nodes.get(node) ?? NO_LOAD;
  }

  /** As if the instance were not there: it does not stand in its own way. */
  onWithout(node: string, instance: Instance): Load {
    const own = this.#shares.get(keyOf(instance))?.find((share) => share.node === node);
    return own ? plus(this.on(node), own, -1) : this.on(node);
  }

  #replace(key: string, shares: readonly Share[]): void {
    for (const share of this.#shares.get(key) ?? []) this.#nodes.set(share.node, plus(this.on(share.node), share, -1));
    for (const share of shares) this.#nodes.set(share.node, plus(this.on(share.node), share));
    if (shares.length > 0) this.#shares.set(key, shares);
    else this.#shares.delete(key);
  }
}
