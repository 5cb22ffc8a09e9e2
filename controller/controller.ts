/**
 * The controller without its process, on one connection until the signal aborts: informers always, loops while it leads.
 * A controller that waits keeps its caches filled, so that it looks at everything at once when it is its turn.
 */
import type { Connection } from "../lib/client.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Random } from "../lib/random.ts";
import { clientsOn, instancesOf, machinesOf, migrationsOf, namespacesOf, nodesOf, policiesOf, volumesOf } from "./api.ts";
import type { Cache } from "./cache.ts";
import type { Config } from "./config.ts";
import { makeCaches, makeContext } from "./context.ts";
import { Notices } from "./events.ts";
import { makeExecute } from "./execute.ts";
import { inform } from "./informer.ts";
import type { Source } from "./informer.ts";
import { lead } from "./leader.ts";
import { runLoop } from "./loop.ts";
import type { Named } from "./objects.ts";
import { makeLoops, wake, wakeAll } from "./wiring.ts";

export type Running = {
  config: Pick<Config, "migrations">;
  connection: Connection;
  /** Of this process, for people. */
  name: string;
  clock: Clock;
  random: Random;
  log: Logger;
  signal: AbortSignal;
};

/** Returns when everything has ended. */
export async function runController({ config, connection, name, clock, random, log, signal }: Running): Promise<void> {
  const clients = clientsOn(connection);
  const caches = makeCaches();
  const notices = new Notices();
  const context = makeContext({ caches, clock, random, limits: config });
  const loops = makeLoops(context, { clock, random });
  wake(context, loops);

  const synced: Promise<void>[] = [];
  const informers: Promise<void>[] = [];
  const follow = <T extends Named, I extends string>(source: Source<T>, cache: Cache<T, I>) => {
    synced.push(new Promise((onSynced) => informers.push(inform({ source, cache, clock, random, log, signal, onSynced }))));
  };
  follow(nodesOf(clients), caches.nodes);
  follow(volumesOf(clients), caches.volumes);
  follow(policiesOf(clients), caches.policies);
  follow(namespacesOf(clients), caches.namespaces);
  follow(migrationsOf(clients), caches.migrations);
  follow(machinesOf(clients), caches.machines);
  follow(instancesOf(clients), caches.instances);

  // Nothing is decided before every kind has been seen once.
  await Promise.race([Promise.all(synced), aborted(signal)]);
  log.info("caches are filled");
  const execute = makeExecute({ clients, context, notices });
  const queues = Object.values(loops).map(({ queue }) => queue);
  const term = async (leads: AbortSignal) => {
    for (const queue of queues) queue.open();
    wakeAll(caches, loops);
    await Promise.all(Object.values(loops).map((loop) => runLoop(loop, { execute, clock, log, signal: leads })));
    for (const queue of queues) queue.close();
  };
  for (const queue of queues) queue.close();
  await Promise.all([...informers, lead({ connection, name, clock, random, log, signal, term }), notices.deliver({ clients, clock, log, signal })]);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
