/** The server without its listeners: what the store, the clock and chance are to be made into. Used by main and by tests. */
import type { Event } from "../gen/drover/v1/event.ts";
import { Namespace } from "../gen/drover/v1/namespace.ts";
import type { Clock } from "../lib/clock.ts";
import { AlreadyExists, Unavailable } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { Random } from "../lib/random.ts";
import type { ExportDirectory } from "./audit/export.ts";
import { AuditKeeper } from "./audit/keeper.ts";
import { Recorder } from "./audit/recorder.ts";
import { openRights } from "./auth/rights.ts";
import type { Authority } from "./authority/authority.ts";
import { DEFAULT_NAMESPACE } from "./kinds/namespace.ts";
import { namespaces, virtualMachineInstances } from "./kinds/table.ts";
import type { Call, Objects } from "./objects.ts";
import { recordEvent } from "./records/events.ts";
import { StoreObjects } from "./records/objects.ts";
import { keepTidy } from "./records/retention.ts";
import type { Vault } from "./records/vault.ts";
import { loadSchema } from "./schema.ts";
import type { ServerParts } from "./server.ts";
import type { TableParts } from "./services/table.ts";
import { SeenPlans } from "./services/drain.ts";
import { NodeCertificates } from "./services/node-certificates.ts";
import { Assignments } from "./sessions/assignments.ts";
import { NodeIdentities, notStanding } from "./sessions/node-identities.ts";
import { NodeSessions } from "./sessions/node-sessions.ts";
import { Tombstones } from "./sessions/tombstones.ts";
import { LiveProgress } from "./sessions/live-progress.ts";
import { Tunnels } from "./sessions/tunnels.ts";
import type { Store } from "./store/store.ts";
import { fieldRules } from "./validate/field-rules.ts";
import type { FieldRules } from "./validate/field-rules.ts";
import type { Schema } from "./validate/schema.ts";

export type AssemblyOptions = {
  store: Store;
  clock: Clock;
  random: Random;
  log: Logger;
  leaseMs: number;
  /** Reading and compiling them takes a moment, so that several servers of one process share them. */
  schema?: Schema;
  rules?: FieldRules;
  watchBacklogBytesMax?: number;
  /** Without one there are no certificates: no agents, and nobody joins. */
  authority?: Authority | undefined;
  /** Closes secrets on the disk. */
  vault?: Vault | undefined;
  /** Where the audit goes before it is forgotten. */
  auditExports?: ExportDirectory | undefined;
  /** "host:port" for agents, once it is known. */
  agentsAddress?: () => string;
};

/** `certificates` comes with an authority. */
export type AssemblyParts = TableParts & { certificates?: NodeCertificates };

/** `stop` ends every stream and all work behind, and may be repeated; whoever opened the listeners and the store closes them. */
export type Assembly = { parts: AssemblyParts; server: ServerParts; stop: () => Promise<void> } & AsyncDisposable;

export async function assemble(options: AssemblyOptions): Promise<Assembly> {
  const { store, clock, random, log, leaseMs, watchBacklogBytesMax, vault, authority, agentsAddress = () => "" } = options;
  const stopping = new AbortController();
  const { signal } = stopping;
  const { schema = loadSchema() } = options;
  const { rules = fieldRules(schema) } = options;
  const objects = new StoreObjects({ store, schema, rules, clock, random, stopping: signal, watchBacklogBytesMax, vault });
  await makeDefaultNamespace(objects, signal);
  const { rights, run } = await openRights({ objects, clock, log, signal });
  const sessions = new NodeSessions({ objects, clock, random, log, leaseMs, signal });
  const watch = (ends: AbortSignal) => objects.revealed.watch(virtualMachineInstances, { signal: ends });
  const assignments = new Assignments({ watch, clock, random, log });
  const tunnels = new Tunnels({ clock, random });
  const tombstones = new Tombstones(store);
  const ended = (node: string, incarnation: number | undefined) => {
    sessions.endIdentity(node, incarnation);
    tunnels.cut(node, notStanding());
  };
  const identities = new NodeIdentities({ objects, clock, random, log, ended });
  const certificates = authority && new NodeCertificates({ objects, authority, identities, agentsAddress });
  await sessions.start();
  await identities.start();
  const recorder = new Recorder({ store, clock, log });
  const tell = (event: Event) => recordEvent({ objects, store, clock }, event, ownCall(signal));
  const audit = new AuditKeeper({ store, clock, log, exports: options.auditExports, tell });
  const chores = [
    (ends: AbortSignal) => audit.tidy(ends),
    (ends: AbortSignal) => objects.identifiers.tidy(ends),
    (ends: AbortSignal) => tombstones.tidy({ objects, sessions }, ends),
  ];
  const background = [run, identities.run(signal), assignments.run(signal), keepTidy({ store, objects, clock, log, signal, chores })];
  const stop = async () => {
    stopping.abort();
    sessions.closeAll(new Unavailable("The server is stopping", { reason: "STOPPING" }));
    await Promise.all(background);
    await recorder.close();
  };
  return {
    parts: {
      objects, rights, store, schema, clock, random, log, stopping: signal, sessions, identities, assignments, tunnels, tombstones,
      recorder, plans: new SeenPlans(), live: new LiveProgress(), issuer: authority, ...(certificates && { certificates }),
    },
    server: { schema, rules, clock, random, log, authorizer: rights, recorder },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** What the server does by itself. */
function ownCall(signal: AbortSignal): Call {
  const caller = { subject: "api-server", role: "control-plane" } as const;
  return { caller, requestId: "", repeatable: false, rpc: "", bodyHash: "", validateOnly: false, signal };
}

async function makeDefaultNamespace(objects: Objects, signal: AbortSignal): Promise<void> {
  try {
    await objects.create(namespaces, Namespace.create({ metadata: { name: DEFAULT_NAMESPACE } }), ownCall(signal));
  } catch (error) {
    if (!(error instanceof AlreadyExists)) throw error;
  }
}
