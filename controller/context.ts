/** What every observation reads: the caches with their indexes, and this process' own clock, chance and limits. */
import type { Clock } from "../lib/clock.ts";
import type { Random } from "../lib/random.ts";
import { Cache } from "./cache.ts";
import type { Config } from "./config.ts";
import { isOpen } from "./migration/story.ts";
import type { Instance, Machine, Migration, NodeRecord, VolumeRecord } from "./objects.ts";
import type { Stopwatch } from "./stopwatch.ts";

/** Nodes that an instance takes room on, or that have a say in what becomes of it. */
export function nodesOf({ status }: Instance): string[] {
  const { nodeName, migration } = status;
  return [...new Set([nodeName, migration?.sourceNode ?? "", migration?.targetNode ?? ""])].filter((name) => name !== "");
}

export const instanceKeyOf = ({ metadata, spec }: Migration): string => `${metadata.namespace}/${spec.vmiName}`;

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
    nodes: new Cache<NodeRecord>({}),
    volumes: new Cache<VolumeRecord, "holder" | "image">({
      holder: ({ status }) => (status.holder ? [status.holder.vmiUid] : []),
      image: ({ spec }) => [`${spec.pool}/${spec.image}`],
    }),
  };
}

export type Caches = ReturnType<typeof makeCaches>;

export type Context = {
  caches: Caches;
  stopwatch: Stopwatch;
  clock: Clock;
  random: Random;
  limits: Pick<Config, "cpuAllocationRatio" | "migrations">;
};
