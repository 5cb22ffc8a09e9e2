/** Gathers what one instance's decision is made on. */
import { capacityOf, isRoomy, roomFor } from "../../lib/capacity.ts";
import { takeSnapshot } from "../../lib/preflight/candidate.ts";
import type { Context } from "../context.ts";
import { isFenced, isSilent } from "../node/liveness.ts";
import type { Instance, Machine, NodeRecord } from "../objects.ts";
import { owns } from "../virtual-machine/decide.ts";
import type { Observed } from "./decide.ts";

export function observe(key: string, context: Context): Observed | undefined {
  const { instances, machines } = context.caches;
  const instance = instances.get(key);
  return instance && observed(instance, ownerOf(instance, machines.get(key)), context);
}

/** Of one that is to be created. */
export function observed(instance: Instance, machine: Machine | undefined, context: Context): Observed {
  const { nodes, volumes } = context.caches;
  const node = nodes.get(instance.status.nodeName);
  return {
    instance,
    machine,
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
  const { memoryBytes, cpus, machines } = capacityOf(node);
  const taken = load.on(name);
  if (taken.memoryBytes <= memoryBytes && taken.cpus <= cpus && taken.machines <= machines) return false;
  return !isRoomy(roomFor(instance, { node, others: caches.instances.by("node", name) }));
}

export function snapshotFor(instance: Instance, { caches, load }: Context) {
  return takeSnapshot(caches.nodes.list(), {
    loadOn: (name) => load.onWithout(name, instance),
  });
}

const ownerOf = (instance: Instance, machine: Machine | undefined): Machine | undefined =>
  machine && owns(machine, instance) ? machine : undefined;
