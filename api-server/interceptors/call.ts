/** Makes the `Call` that every handler works with: who calls, under which request id, whether the request is well formed. */
import { createHash } from "node:crypto";
import { type CallContext, type Metadata, type MethodDescriptor, type ServerMiddleware } from "nice-grpc-common";
import { type Clock, deadline } from "../../lib/clock.ts";
import { InvalidArgument, ResourceExhausted } from "../../lib/errors.ts";
import type { Random } from "../../lib/random.ts";
import type { Authorizer } from "../auth/authorizer.ts";
import type { Call, Caller, WithCall } from "../objects.ts";
import type { FieldRules } from "../validate/field-rules.ts";
import { requestFaults } from "../validate/request.ts";
import { Undecodable, unreadable } from "../validate/undecodable.ts";
import type { WithTrail } from "./audit.ts";
import { authorize, whileAllowed } from "./authorize.ts";
import type { Shape } from "./shapes.ts";

const UNARY_DEADLINE_MS = 30_000;
const METADATA_BYTES_MAX = 8 * 1024;

export type CallOptions = {
  shapes: ReadonlyMap<string, Shape>;
  rules: FieldRules;
  clock: Clock;
  random: Random;
  /** Throws Unauthenticated. */
  callerOf(context: CallContext): Caller | Promise<Caller>;
  authorizer: Authorizer;
  /** Throws ResourceExhausted; what it answers is disposed of when the call has ended. */
  admit(caller: Caller, context: CallContext, method: MethodDescriptor): Disposable;
};

export function callContext(options: CallOptions): ServerMiddleware<WithCall, WithTrail> {
  return async function* callMiddleware(call, context) {
    checkMetadata(context.metadata);
    const rpc = call.method.path;
    const caller = { ...(await options.callerOf(context)), source: context.peer };
    const { trail } = context;
    if (trail) trail.caller = caller;
    using _admitted = options.admit(caller, context, call.method);
    const leave = await authorize(options.authorizer, { rpc, caller, request: call.request });
    const request = call.requestStream ? NOTHING : describe(options, rpc, call.request as Record<string, unknown> | Undecodable);
    if (trail) trail.requestId = request.requestId;
    const from = { caller, rpc, ...request, ...(trail && { trail }), ...(leave.namespaces && { namespaces: leave.namespaces }) };
    if (call.requestStream || call.responseStream) {
      using allowed = whileAllowed(options, caller, leave);
      const signal = AbortSignal.any([context.signal, allowed.signal]);
      const stream = call.next(call.request, { ...context, signal, call: { ...from, signal } });
      return yield* endedBy(allowed.signal, stream);
    }
    using cap = deadline(options.clock, UNARY_DEADLINE_MS, context.signal);
    const made: Call = { ...from, signal: cap.signal };
    const answer = call.next(call.request, { ...context, signal: cap.signal, call: made });
    return await within(answer.next().then(({ value }) => value), cap.signal);
  };
}

/** For what every caller may see, but nobody without an identity: the API's description. */
export function identifiedOnly(callerOf: CallOptions["callerOf"]): ServerMiddleware {
  return async function* identifiedMiddleware(call, context) {
    await callerOf(context);
    return yield* call.next(call.request, context);
  };
}

/** One answer, or a stream of them. */
type Answers<R> = AsyncGenerator<never, R, undefined> | AsyncGenerator<R, void, undefined>;

/** Nothing goes out after the signal, and whatever the handler makes of it, the caller is told the signal's reason. */
async function* endedBy<R>(signal: AbortSignal, stream: Answers<R>): AsyncGenerator<R, R | void, undefined> {
  try {
    for (;;) {
      const result = await stream.next();
      // A handler that takes the signal for a quiet end has not ended well either.
      signal.throwIfAborted();
      if (result.done) return result.value;
      yield result.value;
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    await (stream as AsyncGenerator<R, R | void, undefined>).return();
  }
}

/** A handler that goes on past its deadline is left to itself: what it commits is committed, and a repeat will find it. */
function within<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason as Error);
    answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

type FromRequest = Pick<Call, "requestId" | "repeatable" | "bodyHash" | "validateOnly" | "faults">;

const NOTHING: FromRequest = { requestId: "", repeatable: false, bodyHash: "", validateOnly: false };

/** Faults beside an object wait for the object's own; without one they are all there is. */
function describe({ shapes, rules, random }: CallOptions, rpc: string, request: Record<string, unknown> | Undecodable): FromRequest {
  const shape = shapes.get(rpc);
  if (!shape) return NOTHING;
  if (request instanceof Undecodable) throw unreadable(shape.typeName, request.cause);
  const faults = requestFaults(rules, shape, request);
  const hasObject = shape.object !== undefined && request[shape.object.key] !== undefined;
  if (faults.length > 0 && !hasObject) throw new InvalidArgument(faults);
  const validateOnly = request["validateOnly"] === true;
  if (!shape.repeatable) return { ...NOTHING, validateOnly, faults };
  const given = String(request["requestId"]);
  const bodyHash = createHash("sha256").update(shape.encode({ ...request, requestId: "" })).digest("hex");
  return { requestId: given || random.uuid(), repeatable: given !== "", bodyHash, validateOnly, faults };
}

function checkMetadata(metadata: Metadata): void {
  let bytes = 0;
  for (const [key, values] of metadata) for (const value of values) bytes += key.length + value.length;
  if (bytes <= METADATA_BYTES_MAX) return;
  throw new ResourceExhausted(`Metadata must be at most ${METADATA_BYTES_MAX} bytes: it is ${bytes}`, { reason: "METADATA_TOO_LARGE" }, 0);
}
