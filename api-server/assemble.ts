/** The server without its listeners: what the store, the clock and chance are to be made into. Used by main and by tests. */
import { Namespace } from "../gen/drover/v1/namespace.ts";
import type { Clock } from "../lib/clock.ts";
import { AlreadyExists, Unavailable } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { Random } from "../lib/random.ts";
import { DEFAULT_NAMESPACE } from "./kinds/namespace.ts";
import { namespaces, virtualMachineInstances } from "./kinds/table.ts";
import type { Call, Objects } from "./objects.ts";
import { StoreObjects } from "./records/objects.ts";
import { keepTidy } from "./records/retention.ts";
import { loadSchema } from "./schema.ts";
import type { ServerParts } from "./server.ts";
import type { TableParts } from "./services/table.ts";
import { Assignments } from "./sessions/assignments.ts";
import { NodeSessions } from "./sessions/node-sessions.ts";
import { Tombstones } from "./sessions/tombstones.ts";
import { Tunnels } from "./sessions/tunnels.ts";
import type { Store } from "./store/store.ts";
import { fieldRules } from "./validate/field-rules.ts";

export type AssemblyOptions = { store: Store; clock: Clock; random: Random; log: Logger; leaseMs: number; watchBacklogBytesMax?: number };

/** `stop` ends every stream and all work behind, and may be repeated; whoever opened the listeners and the store closes them. */
export type Assembly = { parts: TableParts; server: ServerParts; stop(): Promise<void> } & AsyncDisposable;

export async function assemble({ store, clock, random, log, leaseMs, watchBacklogBytesMax }: AssemblyOptions): Promise<Assembly> {
  const stopping = new AbortController();
  const { signal } = stopping;
  const schema = loadSchema();
  const rules = fieldRules(schema);
  const objects = new StoreObjects({ store, schema, rules, clock, random, stopping: signal, watchBacklogBytesMax });
  await makeDefaultNamespace(objects, signal);
  const sessions = new NodeSessions({ objects, clock, random, log, leaseMs, signal });
  const watch = (ends: AbortSignal) => objects.revealed.watch(virtualMachineInstances, { signal: ends });
  const assignments = new Assignments({ watch, clock, random, log });
  const tunnels = new Tunnels({ clock, random });
  const tombstones = new Tombstones(store);
  await sessions.start();
  const chores = [
    (ends: AbortSignal) => objects.identifiers.tidy(ends),
    (ends: AbortSignal) => tombstones.tidy({ objects, sessions, clock, random }, ends),
  ];
  const background = [assignments.run(signal), keepTidy({ store, objects, clock, log, signal, chores })];
  const stop = async () => {
    stopping.abort();
    sessions.closeAll(new Unavailable("The server is stopping", { reason: "STOPPING" }));
    await Promise.all(background);
  };
  return {
    parts: { objects, store, schema, clock, random, log, stopping: signal, sessions, assignments, tunnels, tombstones },
    server: { schema, rules, clock, random, log },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function makeDefaultNamespace(objects: Objects, signal: AbortSignal): Promise<void> {
  const caller = { subject: "api-server", role: "control-plane" } as const;
  const call: Call = { caller, requestId: "", repeatable: false, rpc: "", bodyHash: "", validateOnly: false, signal };
  try {
    await objects.create(namespaces, Namespace.create({ metadata: { name: DEFAULT_NAMESPACE } }), call);
  } catch (error) {
    if (!(error instanceof AlreadyExists)) throw error;
  }
}
