/**
 * nice-grpc's server without its sockets: what the API server adds its services and interceptors to. Requests come as bytes
 * and answers go as bytes, through the very chain of interceptors that a listener has.
 */
import { composeServerMiddleware, Metadata, ServerError, Status } from "nice-grpc-common";
import type { CallContext, ServerMiddleware } from "nice-grpc-common";
import type { Server } from "nice-grpc";
import { headerOf } from "../../../api-server/interceptors/peer.ts";
import type { Peer } from "../../../api-server/interceptors/peer.ts";
import { Channel } from "../../../lib/channel.ts";
import type { ClientFrame, Ear, ServerFrame } from "./frames.ts";

export type ListenerName = "unix" | "public" | "agents";

type Codec = { encode(message: never): { finish(): Uint8Array }; decode(bytes: Uint8Array): unknown; fromPartial(message: unknown): unknown };
type Method = { name: string; requestType: Codec; requestStream: boolean; responseType: Codec; responseStream: boolean; options: object };
type Definition = { fullName: string; methods: Record<string, Method> };
type Implementation = Record<string, (request: unknown, context: CallContext) => unknown>;
type Handler = { path: string; method: Method; run(request: unknown, context: CallContext): AsyncGenerator<unknown, unknown, undefined> };

export type Incoming = { path: string; metadata: Metadata; peer: Peer; from: string };

/** More than any program has under way: nobody waits for room. */
const REQUESTS_MAX = 100_000;

export class SimServer {
  readonly #handlers: Map<string, Handler>;
  readonly #middleware: ServerMiddleware | undefined;
  readonly #onUncaught: (path: string, error: unknown) => void;

  constructor(onUncaught: (path: string, error: unknown) => void, handlers = new Map<string, Handler>(), middleware?: ServerMiddleware) {
    this.#onUncaught = onUncaught;
    this.#handlers = handlers;
    this.#middleware = middleware;
  }

  /** As nice-grpc's: services added to what this answers have one interceptor more. */
  use(added: ServerMiddleware): SimServer {
    return new SimServer(this.#onUncaught, this.#handlers, composed(this.#middleware, added));
  }

  with(added: ServerMiddleware): SimServer {
    return this.use(added);
  }

  add(definition: Definition, implementation: Implementation): void {
    for (const [name, method] of Object.entries(definition.methods)) {
      const path = `/${definition.fullName}/${method.name}`;
      this.#handlers.set(path, { path, method, run: runOf(path, method, { implement: implementation[name]!.bind(implementation), middleware: this.#middleware }) });
    }
  }

  /** The API server's own type for it. */
  get asServer(): Server {
    return this as unknown as Server;
  }

  /** A call begins; what is answered hears the rest of it. */
  begin({ path, metadata, peer, from }: Incoming, answer: Ear<ServerFrame>): Ear<ClientFrame> {
    const handler = this.#handlers.get(path);
    const trailer = Metadata();
    const requests = new Channel<unknown>(REQUESTS_MAX);
    const aborting = new AbortController();
    const context = { metadata: metadata.set(...headerOf(peer)), peer: from, header: Metadata(), sendHeader: () => undefined, trailer, signal: aborting.signal };
    const end = (code: Status, details: string, bytes?: Uint8Array) => answer({ kind: "end", code, details, trailer, ...(bytes && { bytes }) });
    if (!handler) end(Status.UNIMPLEMENTED, path);
    else {
      const message = (response: unknown) => answer({ kind: "message", bytes: encoded(handler.method.responseType, response) });
      void serve(handler, { requests, context, message }).then(
        (bytes) => end(Status.OK, "", bytes),
        (error: unknown) => this.#failed(path, error, end),
      );
    }
    return (frame) => {
      if ("bytes" in frame && handler) requests.offer(handler.method.requestType.decode(frame.bytes));
      if (frame.kind === "half-close" || frame.kind === "call") requests.close();
      if (frame.kind === "cancel") {
        requests.close(aborted());
        aborting.abort();
      }
    };
  }

  #failed(path: string, error: unknown, end: (code: Status, details: string) => void): void {
    if (error instanceof ServerError) return end(error.code, error.details);
    if (error instanceof Error && error.name === "AbortError") return end(Status.CANCELLED, "The operation was cancelled");
    this.#onUncaught(path, error);
    end(Status.UNKNOWN, "Unknown server error occurred");
  }
}

export function aborted(): Error {
  const error = new Error("The operation has been aborted");
  error.name = "AbortError";
  return error;
}

export const encoded = (type: Codec, message: unknown): Uint8Array => type.encode(type.fromPartial(message) as never).finish();

const composed = (outer: ServerMiddleware | undefined, inner: ServerMiddleware): ServerMiddleware => (outer ? composeServerMiddleware(outer, inner) : inner);

/** Answers what ends the call: the one answer of a call that has one. */
async function serve(handler: Handler, { requests, context, message }: { requests: Channel<unknown>; context: CallContext; message: (response: unknown) => void }): Promise<Uint8Array | undefined> {
  const { requestStream, responseStream, responseType } = handler.method;
  const incoming = requests[Symbol.asyncIterator]();
  const request = requestStream ? { [Symbol.asyncIterator]: () => incoming } : (await incoming.next()).value;
  const answers = handler.run(request, context);
  for (let result = await answers.next(); ; result = await answers.next()) {
    if (result.done) {
      return responseStream ? undefined : encoded(responseType, result.value);
    }
    if (context.signal.aborted) {
      await answers.return(undefined);
      throw aborted();
    }
    message(result.value);
  }
}

type Carried = { implement: Implementation[string]; middleware: ServerMiddleware | undefined };

function runOf(path: string, method: Method, { implement, middleware }: Carried): Handler["run"] {
  const { requestStream, responseStream, options } = method;
  const next = responseStream
    ? async function* (request: unknown, context: CallContext) {
        yield* implement(request, context) as AsyncIterable<unknown>;
      }
    : (request: unknown, context: CallContext) => once(() => implement(request, context));
  if (!middleware) return next as Handler["run"];
  const descriptor = { path, requestStream, responseStream, options };
  return (request, context) => middleware({ method: descriptor, requestStream, request, responseStream, next } as never, context) as ReturnType<Handler["run"]>;
}

/** What a call with one answer is to the interceptors: a generator that yields nothing and returns it. */
async function* once(implement: () => unknown): AsyncGenerator<unknown, unknown, undefined> {
  yield* [];
  return await implement();
}
