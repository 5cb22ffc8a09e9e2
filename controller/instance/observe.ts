/** Gathers what one instance's decision is made on. */
import { capacityOf, roomFor } from "../../lib/capacity.ts";
import type { Context } from "../context.ts";
import { isFenced, isSilent } from "../node/liveness.ts";
import type { Instance, Machine, NodeRecord } from "../objects.ts";
import { takeSnapshot } from "../scheduler/snapshot.ts";
import { owns } from "../virtual-machine/decide.ts";
import type { Observed } from "./decide.ts";

export function observe(key: string, context: Context): Observed | undefined {
  const { instances, machines, nodes, volumes } = context.caches;
  const instance = instances.get(key);
  if (!instance) return undefined;
  const node = nodes.get(instance.status.nodeName);
  return {
    instance,
    machine: ownerOf(instance, machines.get(key)),
    node,
    silent: isSilent(node),
    fenced: isFenced(node),
    crowdedOut: node !== undefined && isCrowdedOut(instance, node, context),
    snapshot: () => snapshotFor(instance, context),
    volume: (name) => volumes.get(name),
    volumesOfImage: (pool, image) => volumes.by("image", `${pool}/${image}`),
    now: context.clock.now(),
  };
}

/**
 * As the API server judges a claim: whoever has claimed already is in, and a node that has reported nothing turns nobody
 * away. Only where the promises to all do not fit together it matters which of them are taken.
 */
function isCrowdedOut(instance: Instance, node: NodeRecord, { caches, load }: Context): boolean {
  if (instance.status.claim || !node.status.report) return false;
  const { name } = node.metadata;
  if (load.on(name).memoryBytes <= capacityOf(node).memoryBytes) return false;
  const { neededBytes, freeBytes } = roomFor(instance, { node, others: caches.instances.by("node", name) });
  return neededBytes > freeBytes;
}

export function snapshotFor(instance: Instance, { caches, load, limits }: Context) {
  return takeSnapshot(caches.nodes.list(), {
    loadOn: (name) => load.onWithout(name, instance),
    cpuAllocationRatio: limits.cpuAllocationRatio,
  });
}

const ownerOf = (instance: Instance, machine: Machine | undefined): Machine | undefined =>
  machine && owns(machine, instance) ? machine : undefined;
