/** Which change wakes which loop. Loops work on keys: a change only says where to look again. */
import type { Clock } from "../lib/clock.ts";
import { nodesOf, sharesOf } from "../lib/preflight/load.ts";
import type { Random } from "../lib/random.ts";
import { NodeReport } from "../gen/drover/v1/node.ts";
import { NOTHING } from "./actions.ts";
import type { Decision } from "./actions.ts";
import type { Caches, Context } from "./context.ts";
import * as drain from "./drain/decide.ts";
import { observe as observeDrain } from "./drain/observe.ts";
import * as instance from "./instance/decide.ts";
import { observe as observeInstance } from "./instance/observe.ts";
import type { Loop } from "./loop.ts";
import * as migration from "./migration/decide.ts";
import { observe as observeMigrations } from "./migration/observe.ts";
import { instanceKeyOf, isOpen } from "./migration/story.ts";
import * as node from "./node/decide.ts";
import { observe as observeNode } from "./node/observe.ts";
import { keyOf } from "./objects.ts";
import type { Instance, Machine, NodeRecord } from "./objects.ts";
import { isDraining } from "../lib/drain/record.ts";
import { sameMessage } from "../lib/same.ts";
import * as machine from "./virtual-machine/decide.ts";
import { observe as observeMachine } from "./virtual-machine/observe.ts";
import * as volume from "./volume/decide.ts";
import { observe as observeVolume } from "./volume/observe.ts";
import { WorkQueue } from "./work-queue.ts";

const WORKERS = 8;

export type Loops = Record<"machine" | "instance" | "migration" | "node" | "drain" | "volume", Loop>;

export function makeLoops(context: Context, around: { clock: Clock; random: Random }): Loops {
  const queue = () => new WorkQueue(around);
  const { placing } = context;
  const look =
    <O>(observe: (key: string, context: Context) => O | undefined, decide: (observed: O) => Decision) =>
    (key: string): Decision => {
      const observed = observe(key, context);
      return observed === undefined ? NOTHING : decide(observed);
    };
  return {
    machine: { name: "virtual-machine", queue: queue(), workers: WORKERS, reconcile: look(observeMachine, machine.decide) },
    instance: { name: "instance", queue: queue(), workers: WORKERS, reconcile: look(observeInstance, instance.decide), gate: placing },
    migration: { name: "migration", queue: queue(), workers: WORKERS, reconcile: look(observeMigrations, migration.decide), gate: placing },
    node: { name: "node", queue: queue(), workers: 1, reconcile: look(observeNode, node.decide) },
    drain: { name: "drain", queue: queue(), workers: 1, reconcile: look(observeDrain, drain.decide) },
    volume: { name: "volume", queue: queue(), workers: WORKERS, reconcile: look(observeVolume, volume.decide) },
  };
}

/**
 * A change wakes those whose decision it can alter and nobody else: whatever is woken for each machine that the fleet has
 * makes every start dearer.
 */
export function wake({ caches, places }: Context, loops: Loops): void {
  const { machines, instances, migrations, nodes, volumes } = caches;
  const each = (keys: readonly string[], ...named: (keyof Loops)[]) => {
    for (const key of keys) for (const name of named) loops[name].queue.add(key);
  };
  const unplaced = () => each(instances.by("unplaced", "yes").map(keyOf), "instance");
  const draining = () => each(nodes.by("draining", "yes").map(keyOf), "drain");
  const drainsOf = (...names: string[]) => each(names.filter((name) => isDrained(nodes.get(name))), "drain");
  const queued = () => each(places.moved().map(instanceKeyOf), "migration");

  machines.onChange(({ key, before, after }) => {
    each([key], "machine");
    if (!isSameToItsRun(before, after)) each([key], "instance");
    if (!before || !after) each([key], "migration");
  });
  instances.onChange(({ key, before, after }) => {
    each([key], "machine", "instance");
    if (before?.status.migration || after?.status.migration || migrations.count("instance", key) > 0) each([key], "migration");
    const places = new Set([before, after].flatMap((one) => (one ? nodesOf(one) : [])));
    each([...places].filter((name) => nodes.get(name)?.status.fence), "node");
    drainsOf(...places);
    const freed = hasFreed(before, after);
    if (freed) unplaced();
    if (freed || !sameMessage(before?.status.migration, after?.status.migration)) queued();
    for (const uid of new Set([before?.metadata.uid, after?.metadata.uid])) if (uid) each(volumes.by("holder", uid).map(keyOf), "volume");
  });
  migrations.onChange(({ before, after }) => {
    const keys = [...new Set([before, after].flatMap((one) => (one ? [instanceKeyOf(one)] : [])))];
    each(keys, "migration");
    // A volume may wait for a migration that never came to be entered.
    if (before && !(after && isOpen(after))) each(keys.flatMap((key) => volumes.by("holder", instances.get(key)?.metadata.uid ?? "").map(keyOf)), "volume");
    if (before?.status.outcome !== after?.status.outcome) each(keys, "machine");
    drainsOf(...keys.flatMap((key) => instances.get(key) ?? []).flatMap(nodesOf));
    if (before?.status.phase !== after?.status.phase) queued();
  });
  nodes.onChange(({ key, before, after }) => {
    each([key], "node");
    if (isDrained(before) || isDrained(after)) each([key], "drain");
    if (isSameToOthers(before, after)) return;
    each(instances.by("node", key).map(keyOf), "machine", "instance", "migration");
    draining();
    unplaced();
    queued();
  });
  volumes.onChange(({ key, before, after }) => {
    each([key], "volume");
    if (before && before.status.holder?.vmiUid !== after?.status.holder?.vmiUid) unplaced();
    // A migration that is handed over is closed when its volumes say so.
    const holder = before?.status.holder;
    if (holder && (before.status.state !== after?.status.state || !after?.status.holder)) each([`${holder.namespace}/${holder.name}`], "migration");
  });
}

/** For the beginning of a term: another controller may have decided meanwhile. */
export function wakeAll({ machines, instances, migrations, nodes, volumes }: Caches, loops: Loops): void {
  const named = [...machines.list(), ...instances.list()].map(keyOf).concat(migrations.list().map(instanceKeyOf));
  for (const key of named) for (const name of ["machine", "instance", "migration"] as const) loops[name].queue.add(key);
  for (const key of nodes.list().map(keyOf)) for (const name of ["node", "drain"] as const) loops[name].queue.add(key);
  for (const key of volumes.list().map(keyOf)) loops.volume.queue.add(key);
}

const isDrained = (node: NodeRecord | undefined): boolean => node !== undefined && isDraining(node);

/** Whether there is more room on some node than before. Room that was taken lets nobody in who was out. */
function hasFreed(before: Instance | undefined, after: Instance | undefined): boolean {
  const [had, has] = [before, after].map((one) => (one ? sharesOf(one) : []));
  return had!.some(({ node, inbound }) => {
    const share = has!.find((other) => other.node === node);
    return share === undefined || share.inbound < inbound;
  });
}

/** What the instance's decision reads of its machine: who it is, and what of the run it has written down. */
function isSameToItsRun(before: Machine | undefined, after: Machine | undefined): boolean {
  return (
    before?.metadata.uid === after?.metadata.uid &&
    before?.status.lastEpoch === after?.status.lastEpoch &&
    before?.status.lastRun?.uid === after?.status.lastRun?.uid
  );
}

/** Reports come often and mostly say the same. */
function isSameToOthers(before: NodeRecord | undefined, after: NodeRecord | undefined): boolean {
  if (!before || !after) return false;
  const report = ({ status }: NodeRecord): NodeReport => {
    const said = status.report ?? NodeReport.create();
    return { ...said, generation: 0, pools: said.pools.map((pool) => ({ ...pool, availableBytes: 0 })) };
  };
  return (
    before.status.session?.state === after.status.session?.state &&
    before.status.fence?.id === after.status.fence?.id &&
    before.metadata.generation === after.metadata.generation &&
    before.metadata.deletionTimestamp === after.metadata.deletionTimestamp &&
    sameMessage(before.spec, after.spec) &&
    sameMessage(before.metadata.labels, after.metadata.labels) &&
    sameMessage(report(before), report(after))
  );
}
