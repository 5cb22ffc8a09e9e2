/** Which change wakes which loop. Loops work on keys: a change only says where to look again. */
import type { Clock } from "../lib/clock.ts";
import type { Random } from "../lib/random.ts";
import { NodeReport } from "../gen/drover/v1/node.ts";
import { NOTHING, sameMessage } from "./actions.ts";
import type { Decision } from "./actions.ts";
import { instanceKeyOf, nodesOf } from "./context.ts";
import type { Context } from "./context.ts";
import * as instance from "./instance/decide.ts";
import { observe as observeInstance } from "./instance/observe.ts";
import { serialGate } from "./loop.ts";
import type { Loop } from "./loop.ts";
import * as migration from "./migration/decide.ts";
import { observe as observeMigrations } from "./migration/observe.ts";
import * as node from "./node/decide.ts";
import { observe as observeNode } from "./node/observe.ts";
import { keyOf } from "./objects.ts";
import type { Instance, NodeRecord } from "./objects.ts";
import * as machine from "./virtual-machine/decide.ts";
import { observe as observeMachine } from "./virtual-machine/observe.ts";
import * as volume from "./volume/decide.ts";
import { observe as observeVolume } from "./volume/observe.ts";
import { WorkQueue } from "./work-queue.ts";

const WORKERS = 8;

export type Loops = Record<"machine" | "instance" | "migration" | "node" | "volume", Loop>;

export function makeLoops(context: Context, around: { clock: Clock; random: Random }): Loops {
  const queue = () => new WorkQueue(around);
  const placing = serialGate();
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
    volume: { name: "volume", queue: queue(), workers: WORKERS, reconcile: look(observeVolume, volume.decide) },
  };
}

export function wake({ caches }: Context, loops: Loops): void {
  const { machines, instances, migrations, nodes, volumes } = caches;
  const each = (keys: readonly string[], ...named: (keyof Loops)[]) => {
    for (const key of keys) for (const name of named) loops[name].queue.add(key);
  };
  const unplaced = () => each(instances.by("unplaced", "yes").map(keyOf), "instance");
  const queued = () => each(migrations.by("open", "yes").map(instanceKeyOf), "migration");

  machines.onChange(({ key }) => each([key], "machine", "instance", "migration"));
  instances.onChange(({ key, before, after }) => {
    each([key], "machine", "instance", "migration");
    if (hasMoved(before, after)) {
      each([...new Set([before, after].flatMap((one) => (one ? nodesOf(one) : [])))], "node");
      unplaced();
      queued();
    }
    for (const uid of new Set([before?.metadata.uid, after?.metadata.uid])) if (uid) each(volumes.by("holder", uid).map(keyOf), "volume");
  });
  migrations.onChange(({ before, after }) => {
    const keys = [...new Set([before, after].flatMap((one) => (one ? [instanceKeyOf(one)] : [])))];
    each(keys, "migration", "machine");
    if (before?.status.phase !== after?.status.phase) queued();
  });
  nodes.onChange(({ key, before, after }) => {
    each([key], "node");
    if (isSameToOthers(before, after)) return;
    each(instances.by("node", key).map(keyOf), "machine", "instance", "migration");
    unplaced();
    queued();
  });
  volumes.onChange(({ key }) => {
    each([key], "volume");
    unplaced();
  });
}

/** Other nodes, other promises: what is free on the fleet is not what it was. */
function hasMoved(before: Instance | undefined, after: Instance | undefined): boolean {
  const places = (one: Instance | undefined) => (one ? [...nodesOf(one), one.status.ownerReport?.state, one.status.migration?.handedOff].join() : "");
  return places(before) !== places(after);
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
    JSON.stringify(before.spec) === JSON.stringify(after.spec) &&
    JSON.stringify(before.metadata.labels) === JSON.stringify(after.metadata.labels) &&
    sameMessage(NodeReport, report(before), report(after))
  );
}
