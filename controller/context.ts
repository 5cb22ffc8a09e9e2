/** What every observation reads: the caches with what is counted from them, and this process' own clock, chance and limits. */
import type { Clock } from "../lib/clock.ts";
import { isDraining } from "../lib/drain/record.ts";
import { nodesOf } from "../lib/preflight/load.ts";
import type { Random } from "../lib/random.ts";
import { Cache } from "./cache.ts";
import type { Config } from "./config.ts";
import { Refusals } from "./drain/refusals.ts";
import { serialGate } from "./gate.ts";
import type { Gate } from "./gate.ts";
import { Places } from "./migration/places.ts";
import { instanceKeyOf, isOpen } from "./migration/story.ts";
import type { Instance, Machine, Migration, NamespaceRecord, NodeRecord, Policy, VolumeRecord } from "./objects.ts";
import { FleetLoad } from "./scheduler/load.ts";
import { Stopwatch } from "./stopwatch.ts";

export function makeCaches() {
  return {
    machines: new Cache<Machine>({}),
    instances: new Cache<Instance, "node" | "uid" | "migrating" | "unplaced">({
      node: nodesOf,
      uid: ({ metadata }) => [metadata.uid],
      migrating: ({ status }) => (status.migration ? ["yes"] : []),
      unplaced: ({ status }) => (status.nodeName === "" ? ["yes"] : []),
    }),
    migrations: new Cache<Migration, "instance" | "open">({
      instance: (migration) => [instanceKeyOf(migration)],
      open: (migration) => (isOpen(migration) ? ["yes"] : []),
    }),
    policies: new Cache<Policy>({}),
    namespaces: new Cache<NamespaceRecord>({}),
    nodes: new Cache<NodeRecord, "draining">({ draining: (node) => (isDraining(node) ? ["yes"] : []) }),
    volumes: new Cache<VolumeRecord, "holder" | "image">({
      holder: ({ status }) => (status.holder ? [status.holder.vmiUid] : []),
      image: ({ spec }) => [`${spec.pool}/${spec.image}`],
    }),
  };
}

export type Caches = ReturnType<typeof makeCaches>;

export type Context = {
  caches: Caches;
  load: FleetLoad;
  places: Places;
  refusals: Refusals;
  /** Whatever places passes it, so that each sees what the ones before it took. */
  placing: Gate;
  stopwatch: Stopwatch;
  clock: Clock;
  random: Random;
  limits: Pick<Config, "migrations">;
};

/** Before the caches hold anything, as what is counted follows their changes. */
export function makeContext({ caches, clock, random, limits }: Pick<Context, "caches" | "clock" | "random" | "limits">): Context {
  const load = new FleetLoad(caches.instances);
  const places = new Places(caches, limits.migrations, clock);
  return { caches, load, places, refusals: new Refusals(clock), placing: serialGate(), stopwatch: new Stopwatch(clock), clock, random, limits };
}
