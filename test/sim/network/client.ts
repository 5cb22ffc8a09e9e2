/** The generated clients over the simulated network: what `lib/client.ts` is over a real one. */
import { ClientError, Metadata, Status } from "nice-grpc-common";
import type { CallOptions, ClientMiddleware } from "nice-grpc-common";
import { errorDetailsClientMiddleware } from "nice-grpc-error-details";
import type { Peer } from "../../../api-server/interceptors/peer.ts";
import { Channel } from "../../../lib/channel.ts";
import type { Connection } from "../../../lib/client.ts";
import { lossless } from "../../../lib/lossless.ts";
import type { Life } from "../world/life.ts";
import type { ServerFrame } from "./frames.ts";
import type { Network, Stream, Transport } from "./network.ts";
import { aborted, encoded } from "./server.ts";
import type { ListenerName } from "./server.ts";

type Codec = Parameters<typeof encoded>[0];
type Method = { name: string; requestType: Codec; requestStream: boolean; responseType: Codec; responseStream: boolean; options: object };
type Definition = { fullName: string; methods: Record<string, Method> };
type Options = CallOptions;
type Next = (request: unknown, options: Options) => AsyncGenerator<unknown, unknown, undefined>;

export type Way = {
  network: Network;
  life: Life;
  listener: ListenerName;
  peer: Peer;
  keepaliveMs: number;
  /** Before a call leaves, and before its answer is heard; true when the program died there. */
  passes?: (side: "before" | "after") => boolean;
};

const ANSWERS_MAX = 100_000;

/** Connects at the first call, and again at the next one after it was lost. */
export function simConnection(way: Way): Connection {
  let transport: Transport | undefined;
  const current = (): Transport | undefined => {
    if (!transport?.usable) transport = way.network.connect(way.life, way.keepaliveMs);
    return transport;
  };
  const client = (definition: Definition) =>
    Object.fromEntries(methodsOf(definition).map(([name, method]) => [name, caller(`/${definition.fullName}/${method.name}`, method, { way, current })]));
  return {
    channel: undefined,
    client,
    [Symbol.dispose]: () => {
      transport?.reset();
      transport = undefined;
    },
  } as unknown as Connection;
}

/** Made once: every life of every program asks for them again. */
const known = new Map<string, [string, Method][]>();

function methodsOf(definition: Definition): [string, Method][] {
  const made = known.get(definition.fullName) ?? Object.entries(lossless(definition as never as Parameters<typeof lossless>[0]).methods as unknown as Record<string, Method>);
  known.set(definition.fullName, made);
  return made;
}

type Calling = { way: Way; current: () => Transport | undefined };

function caller(path: string, method: Method, calling: Calling) {
  const { requestStream, responseStream, options: methodOptions } = method;
  const next: Next = (request, options) => exchange(path, method, { ...calling, request, options });
  const call = (request: unknown, options: Options): ReturnType<Next> =>
    (errorDetailsClientMiddleware as ClientMiddleware)(
      { method: { path, requestStream, responseStream, options: methodOptions }, requestStream, request, responseStream, next } as never, options as never,
    ) as ReturnType<Next>;
  if (responseStream) return (request: unknown, options: Options = {}) => call(request, options);
  return async (request: unknown, options: Options = {}) => (await call(request, options).next()).value;
}

async function* exchange(path: string, method: Method, { way, current, request, options }: Calling & { request: unknown; options: Options }): AsyncGenerator<unknown, unknown, undefined> {
  const { signal, metadata } = options;
  if (signal?.aborted) throw aborted();
  const answers = new Channel<unknown>(ANSWERS_MAX);
  const hear = (frame: ServerFrame): void => {
    if (frame.kind === "message") return void answers.offer(method.responseType.decode(frame.bytes));
    options.onTrailer?.(frame.trailer);
    if (frame.bytes) answers.offer(method.responseType.decode(frame.bytes));
    answers.close(frame.code === Status.OK ? undefined : new ClientError(path, frame.code, frame.details));
  };
  const stream = open(path, { way, current, metadata: metadata ? Metadata(metadata) : Metadata(), hear });
  const stop = () => {
    stream?.send({ kind: "cancel" });
    answers.close(aborted());
  };
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const counts = !method.responseStream && !method.requestStream && (method.options as { idempotencyLevel?: string }).idempotencyLevel !== "NO_SIDE_EFFECTS";
    if (counts && way.passes?.("before")) return await new Promise<never>(() => undefined);
    if (method.requestStream) void pump(stream, request as AsyncIterable<unknown>, { type: method.requestType, isOver: () => answers.closed });
    else send(stream, method, request);
    if (method.responseStream) return yield* answers;
    for await (const answer of answers) {
      if (counts && way.passes?.("after")) return await new Promise<never>(() => undefined);
      return answer;
    }
    throw new ClientError(path, Status.UNKNOWN, "The call ended without an answer");
  } finally {
    if (!answers.closed) stream?.send({ kind: "cancel" });
    signal?.removeEventListener("abort", stop);
    answers.close();
  }
}

type Opening = Calling & { metadata: Metadata; hear: (frame: ServerFrame) => void };

function open(path: string, { way, current, metadata, hear }: Opening): Stream | undefined {
  const { network, life, listener, peer } = way;
  const transport = current();
  if (transport) {
    transport.watch();
    return transport.open(listener, { path, metadata, peer, hear });
  }
  network.world.after(network.failsAfterMs(life), () =>
    life.enter(() => hear({ kind: "end", code: Status.UNAVAILABLE, details: "No connection established", trailer: Metadata() })));
  return undefined;
}

function send(stream: Stream | undefined, { requestType, responseStream }: Method, request: unknown): void {
  // A repeated stream would only be read by nobody.
  stream?.send({ kind: "call", bytes: encoded(requestType, request) }, { twice: !responseStream });
}

async function pump(stream: Stream | undefined, requests: AsyncIterable<unknown>, { type, isOver }: { type: Codec; isOver: () => boolean }): Promise<void> {
  stream?.send({ kind: "open" });
  try {
    for await (const request of requests) {
      if (isOver()) return;
      stream?.send({ kind: "message", bytes: encoded(type, request) });
    }
    stream?.send({ kind: "half-close" });
  } catch {
    stream?.send({ kind: "cancel" });
  }
}
