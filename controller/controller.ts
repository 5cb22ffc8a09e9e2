/** The controller without its process: informers, loops and notices on one connection, until the signal aborts. */
import type { Connection } from "../lib/client.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Random } from "../lib/random.ts";
import { clientsOn, instancesOf, machinesOf, migrationsOf, nodesOf, volumesOf } from "./api.ts";
import type { Cache } from "./cache.ts";
import type { Config } from "./config.ts";
import { makeCaches } from "./context.ts";
import { Notices } from "./events.ts";
import { makeExecute } from "./execute.ts";
import { inform } from "./informer.ts";
import type { Source } from "./informer.ts";
import { runLoop } from "./loop.ts";
import type { Named } from "./objects.ts";
import { Stopwatch } from "./stopwatch.ts";
import { makeLoops, wake } from "./wiring.ts";

export type Running = {
  config: Pick<Config, "cpuAllocationRatio" | "migrations">;
  connection: Connection;
  clock: Clock;
  random: Random;
  log: Logger;
  signal: AbortSignal;
};

/** Returns when everything has ended. Two controllers at once do no harm: each write names the version it was decided on. */
export async function runController({ config, connection, clock, random, log, signal }: Running): Promise<void> {
  const clients = clientsOn(connection);
  const caches = makeCaches();
  const notices = new Notices();
  const context = { caches, stopwatch: new Stopwatch(clock), clock, random, limits: config };
  const loops = makeLoops(context, { clock, random });
  wake(context, loops);

  const synced: Promise<void>[] = [];
  const informers: Promise<void>[] = [];
  const follow = <T extends Named, I extends string>(source: Source<T>, cache: Cache<T, I>) => {
    synced.push(new Promise((onSynced) => informers.push(inform({ source, cache, clock, random, log, signal, onSynced }))));
  };
  follow(nodesOf(clients), caches.nodes);
  follow(volumesOf(clients), caches.volumes);
  follow(migrationsOf(clients), caches.migrations);
  follow(machinesOf(clients), caches.machines);
  follow(instancesOf(clients), caches.instances);

  // Nothing is decided before every kind has been seen once.
  await Promise.race([Promise.all(synced), aborted(signal)]);
  log.info("caches are filled, loops begin");
  const execute = makeExecute({ clients, caches, notices });
  const running = Object.values(loops).map((loop) => runLoop(loop, { execute, clock, log, signal }));
  await Promise.all([...informers, ...running, notices.deliver({ clients, clock, log, signal })]);
  for (const { queue } of Object.values(loops)) queue.close();
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
