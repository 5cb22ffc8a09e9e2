/**
 * The listeners: one gRPC server for each, as what is served and who the caller is differ between them. What grpc-js
 * limits is set here; the rest is in `limits/`.
 */
import { chmodSync, rmSync, statSync } from "node:fs";
import { createConnection } from "node:net";
import { type ChannelOptions, ServerCredentials, type ServerInterceptor } from "@grpc/grpc-js";
import { createServer, type Server } from "nice-grpc";
import type { CallContext } from "nice-grpc-common";
import { errorDetailsServerMiddleware } from "nice-grpc-error-details";
import { HealthDefinition, HealthServiceImpl, HealthState } from "nice-grpc-server-health";
import { ServerReflection, ServerReflectionService } from "nice-grpc-server-reflection";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Random } from "../lib/random.ts";
import type { Authorizer } from "./auth/authorizer.ts";
import type { Recorder } from "./audit/recorder.ts";
import { auditing } from "./interceptors/audit.ts";
import { callContext, identifiedOnly } from "./interceptors/call.ts";
import { errors } from "./interceptors/errors.ts";
import { logging } from "./interceptors/logging.ts";
import { peerIdentity, type PeerRules } from "./interceptors/peer.ts";
import { shapesOf } from "./interceptors/shapes.ts";
import { admission } from "./limits/admission.ts";
import { CallBudgets } from "./limits/call-budgets.ts";
import { limitsOf, type LimitsConfig } from "./limits/config.ts";
import { streamingOf } from "./limits/connection.ts";
import { Connections } from "./limits/connections.ts";
import { withHttp2Servers } from "./limits/http2-servers.ts";
import type { Caller } from "./objects.ts";
import type { Service } from "./services/service.ts";
import type { FieldRules } from "./validate/field-rules.ts";
import type { Schema } from "./validate/schema.ts";

export type ListenerName = "unix" | "public" | "agents" | "enrolment" | "insecureLoopback";

/** On this machine alone. */
const LOCAL: ReadonlySet<ListenerName> = new Set(["unix", "insecureLoopback"]);

/** `peers` says whose client certificates are looked at; without it nobody's are. */
export type Tls = { credentials: ServerCredentials; peers?: PeerRules };

export type Listener = {
  name: ListenerName;
  /** "unix:/path" or "host:port"; port 0 takes any free one. */
  address: string;
  services: readonly Service[];
  /** Throws Unauthenticated. */
  callerOf(context: CallContext): Caller | Promise<Caller>;
  messageBytesMax: number;
  /** Reflection and health are offered. */
  described: boolean;
  tls?: Tls;
};

export type ServerParts = { schema: Schema; rules: FieldRules; clock: Clock; random: Random; log: Logger; authorizer: Authorizer; recorder: Recorder; limits?: LimitsConfig | undefined };

/** `close` waits up to `graceMs` for the calls under way, then cuts them. Streams have to be ended by their own signal. */
export type Listening = { name: ListenerName; address: string; port: number; close(graceMs: number): Promise<void> };

export const MIB = 1024 * 1024;

const LIMITS: ChannelOptions = {
  "grpc.enable_channelz": 0, // Nobody reads its books, and each call pays for them.
  // In MB: what one connection may hold in nghttp2.
  "grpc-node.max_session_memory": 10,
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.max_connection_idle_ms": 300_000,
  "grpc.max_connection_age_ms": 3_600_000,
  "grpc.max_connection_age_grace_ms": 60_000,
};

/** One after the other, so that an address in use is named; what was open already is closed again. */
export async function listenAll(listeners: readonly Listener[], parts: ServerParts): Promise<Listening[]> {
  const listening: Listening[] = [];
  // One for all, as a caller may come by several.
  const budgets = new CallBudgets(parts.clock, limitsOf(parts.limits).budgets);
  try {
    for (const listener of listeners) listening.push(await listen(listener, parts, budgets));
    return listening;
  } catch (error) {
    await Promise.all(listening.map((each) => each.close(0)));
    throw error;
  }
}

async function listen(listener: Listener, parts: ServerParts, budgets: CallBudgets): Promise<Listening> {
  const { name, address, services, tls, messageBytesMax } = listener;
  const interceptors: ServerInterceptor[] = [peerIdentity(tls?.peers)];
  // nice-grpc hands its options to grpc-js as they are, which also takes interceptors.
  const options = { ...LIMITS, "grpc.max_receive_message_length": messageBytesMax, interceptors } as ChannelOptions;
  const connections = connectionsOf(listener, parts);
  const server = wire(createServer(options), listener, { ...parts, connections, budgets });
  const credentials = tls?.credentials ?? ServerCredentials.createInsecure();
  const socket = socketOf(address);
  try {
    if (socket !== undefined) await removeStale(socket);
    const port = await withHttp2Servers((http2Server) => connections.attach(http2Server), () => bind(server, address, credentials));
    if (socket !== undefined) chmodSync(socket, 0o600);
    parts.log.info({ listener: name, address, port, services: services.length }, "listening");
    return { name, address, port, close: (graceMs) => close(server, { graceMs, clock: parts.clock }).finally(() => connections[Symbol.dispose]()) };
  } catch (error) {
    connections[Symbol.dispose]();
    throw error;
  }
}

function connectionsOf({ name, services }: Listener, { clock, log, limits }: ServerParts): Connections {
  return new Connections({
    listener: name, isLocal: LOCAL.has(name), clock, log, limits: limitsOf(limits).connections, streaming: streamingOf(services.map(({ definition }) => definition)),
  });
}

async function bind(server: Server, address: string, credentials: ServerCredentials): Promise<number> {
  try {
    return await server.listen(address, credentials);
  } catch (cause) {
    throw new Error(`Cannot listen on ${address}: ${(cause as Error).message}`, { cause });
  }
}

export type Wiring = ServerParts & { connections: Pick<Connections, "identifying" | "requireRoom" | "cut">; budgets: CallBudgets };

/** Everything that a listener's calls go through, whatever carries them. */
export function wire(bare: Server, listener: Listener, parts: Wiring): Server {
  const { log, clock, random, schema, rules, authorizer, recorder, connections, budgets } = parts;
  const { services, described } = listener;
  const callerOf = connections.identifying((context) => listener.callerOf(context));
  const definitions = services.map(({ definition }) => definition);
  const shapes = shapesOf(definitions, schema);
  const outer = bare.use(logging(log, clock)).use(errorDetailsServerMiddleware).use(errors(log, random));
  if (described) {
    const names = definitions.map((definition) => (definition as unknown as { fullName: string }).fullName);
    outer.with(identifiedOnly(callerOf)).add(ServerReflectionService, ServerReflection(schema.image, names));
    const health = HealthState();
    health.setStatus("healthy");
    outer.add(HealthDefinition, HealthServiceImpl(health));
  }
  const identified = callContext({ shapes, rules, clock, random, callerOf, authorizer, admit: admission({ connections, budgets, isLocal: LOCAL.has(listener.name) }) });
  for (const service of services) service.addTo(outer.with(auditing({ recorder, clock })).with(identified));
  return outer;
}

async function close(server: Server, { graceMs, clock }: { graceMs: number; clock: Clock }): Promise<void> {
  const cut = clock.after(graceMs, () => server.forceShutdown());
  try {
    await server.shutdown();
  } finally {
    cut.cancel();
  }
}

const socketOf = (address: string) => (address.startsWith("unix:") ? address.slice("unix:".length) : undefined);

/** What a killed server left behind; one that is alive keeps its socket, and then listening fails. */
async function removeStale(socket: string): Promise<void> {
  if (!statSync(socket, { throwIfNoEntry: false })?.isSocket()) return;
  if (await answers(socket)) throw new Error(`Cannot listen on ${socket}: another server does`);
  rmSync(socket);
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createConnection(socket);
    probe.once("connect", () => resolve(true)).once("error", () => resolve(false));
    probe.once("connect", () => probe.destroy());
  });
}
