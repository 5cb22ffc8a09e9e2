/**
 * The listeners: one gRPC server for each, as what is served and who the caller is differ between them. Limits are set
 * here, since grpc-js has hardly any of its own.
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
import { callContext } from "./interceptors/call.ts";
import { errors } from "./interceptors/errors.ts";
import { logging } from "./interceptors/logging.ts";
import { peerIdentity } from "./interceptors/peer.ts";
import { shapesOf } from "./interceptors/shapes.ts";
import type { Caller } from "./objects.ts";
import type { Service } from "./services/service.ts";
import type { FieldRules } from "./validate/field-rules.ts";
import type { Schema } from "./validate/schema.ts";

export { localCaller, nodeCaller, userCaller } from "./interceptors/peer.ts";

/** PEM texts. */
export type Tls = { ca: Buffer; cert: Buffer; key: Buffer };

export type Listener = {
  /** "unix:/path" or "host:port"; port 0 takes any free one. */
  address: string;
  services: readonly Service[];
  callerOf(context: CallContext): Caller;
  messageBytesMax: number;
  /** Reflection and health are offered. */
  described: boolean;
  /** Clients must show a certificate that its authority signed. */
  tls?: Tls;
};

export type ServerParts = { schema: Schema; rules: FieldRules; clock: Clock; random: Random; log: Logger };

/** `close` waits up to `graceMs` for the calls under way, then cuts them. Streams have to be ended by their own signal. */
export type Listening = { address: string; port: number; close(graceMs: number): Promise<void> };

export const MIB = 1024 * 1024;

const LIMITS: ChannelOptions = {
  "grpc.max_concurrent_streams": 1000,
  "grpc.enable_channelz": 0, // Nobody reads its books, and each call pays for them.
  // In MB: what one connection may hold in nghttp2.
  "grpc-node.max_session_memory": 10,
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.max_connection_age_ms": 3_600_000,
  "grpc.max_connection_age_grace_ms": 60_000,
};

/** One after the other, so that an address in use is named; what was open already is closed again. */
export async function listenAll(listeners: readonly Listener[], parts: ServerParts): Promise<Listening[]> {
  const listening: Listening[] = [];
  try {
    for (const listener of listeners) listening.push(await listen(listener, parts));
    return listening;
  } catch (error) {
    await Promise.all(listening.map((each) => each.close(0)));
    throw error;
  }
}

export async function listen(listener: Listener, parts: ServerParts): Promise<Listening> {
  const { address, services, tls, messageBytesMax } = listener;
  const interceptors: ServerInterceptor[] = tls ? [peerIdentity] : [];
  // nice-grpc hands its options to grpc-js as they are, which also takes interceptors.
  const options = { ...LIMITS, "grpc.max_receive_message_length": messageBytesMax, interceptors } as ChannelOptions;
  const server = wire(createServer(options), listener, parts);
  const credentials = tls
    ? ServerCredentials.createSsl(tls.ca, [{ cert_chain: tls.cert, private_key: tls.key }], true)
    : ServerCredentials.createInsecure();
  const socket = socketOf(address);
  if (socket !== undefined) await removeStale(socket);
  const port = await bind(server, address, credentials);
  if (socket !== undefined) chmodSync(socket, 0o600);
  parts.log.info({ address, port, services: services.length }, "listening");
  return { address, port, close: (graceMs) => close(server, graceMs, parts.clock) };
}

async function bind(server: Server, address: string, credentials: ServerCredentials): Promise<number> {
  try {
    return await server.listen(address, credentials);
  } catch (cause) {
    throw new Error(`Cannot listen on ${address}: ${(cause as Error).message}`, { cause });
  }
}

function wire(bare: Server, listener: Listener, parts: ServerParts): Server {
  const { log, clock, random, schema, rules } = parts;
  const { services, described } = listener;
  const definitions = services.map(({ definition }) => definition);
  const shapes = shapesOf(definitions, schema);
  const outer = bare.use(logging(log, clock)).use(errorDetailsServerMiddleware).use(errors(log, random));
  if (described) {
    const names = definitions.map((definition) => (definition as unknown as { fullName: string }).fullName);
    outer.add(ServerReflectionService, ServerReflection(schema.image, names));
    const health = HealthState();
    health.setStatus("healthy");
    outer.add(HealthDefinition, HealthServiceImpl(health));
  }
  const identified = callContext({ shapes, rules, clock, random, callerOf: (context) => listener.callerOf(context) });
  for (const service of services) service.addTo(outer.with(identified));
  return outer;
}

async function close(server: Server, graceMs: number, clock: Clock): Promise<void> {
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
