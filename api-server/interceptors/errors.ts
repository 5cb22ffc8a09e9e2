/** The one table from what is thrown to what a caller is told. Nothing from inside gets out: an unknown error is an id. */
import { type ServerMiddleware, ServerError, Status } from "nice-grpc-common";
import { BadRequest, ErrorInfo, PreconditionFailure, ResourceInfo, RetryInfo, RichServerError } from "nice-grpc-error-details";
import type { ErrorDetails } from "nice-grpc-error-details";
import { DeadlineExceeded } from "../../lib/clock.ts";
import {
  Aborted, AlreadyExists, ApiError, FailedPrecondition, type Fault, InvalidArgument, NotFound, OutOfRange, PermissionDenied, ResourceExhausted,
  StoreDamaged, Unauthenticated, Unavailable,
} from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import type { Random } from "../../lib/random.ts";
import { Compacted, Conflict, DataLoss, FutureRevision, StoreClosed, StoreFull } from "../store/store.ts";

const DOMAIN = "drover.dev";
const STORE_FULL_RETRY_MS = 5_000;
/** Details travel in one HTTP/2 header block, which clients bound. */
const FAULTS_BYTES_MAX = 32 * 1024;
const FAULTS_IN_MESSAGE_MAX = 8;

export function errors(log: Logger, random: Random): ServerMiddleware {
  return async function* errorsMiddleware(call, context) {
    try {
      return yield* call.next(call.request, context);
    } catch (error) {
      if (error instanceof ServerError || isAbortError(error)) throw error;
      const known = apiErrorOf(error);
      if (known) throw new RichServerError(codeOf(known), messageOf(known), detailsOf(known));
      if (error instanceof DeadlineExceeded) throw new ServerError(Status.DEADLINE_EXCEEDED, error.message);
      const id = random.uuid();
      log.error({ error, rpc: call.method.path, errorId: id }, "internal error");
      throw new RichServerError(Status.INTERNAL, `Internal error ${id}`, [
        ErrorInfo.fromPartial({ reason: "INTERNAL", domain: DOMAIN, metadata: { error_id: id } }),
      ]);
    }
  };
}

/** The caller has gone: nobody reads the answer. */
export function isAbortError(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

/** The store's errors in the API's words; undefined for what has no business outside. */
export function apiErrorOf(error: unknown): ApiError | undefined {
  if (error instanceof ApiError) return error;
  if (error instanceof Conflict) return new Aborted(`"${error.key}" has changed since it was read`);
  if (error instanceof Compacted) {
    return new OutOfRange(error.message, { reason: "REVISION_COMPACTED", metadata: { oldest: error.oldest } });
  }
  if (error instanceof FutureRevision) {
    return new OutOfRange(error.message, { reason: "REVISION_NOT_OF_THIS_STORE", metadata: { newest: error.head } });
  }
  if (error instanceof StoreFull) return new ResourceExhausted(error.message, { reason: "STORE_FULL" }, STORE_FULL_RETRY_MS);
  if (error instanceof DataLoss) return new StoreDamaged(error.message);
  if (error instanceof StoreClosed) return new Unavailable("The server is stopping", { reason: "STOPPING" });
  return undefined;
}

type ErrorClass = abstract new (...args: never[]) => ApiError;

const CODES: [ErrorClass, Status][] = [
  [InvalidArgument, Status.INVALID_ARGUMENT],
  [NotFound, Status.NOT_FOUND],
  [AlreadyExists, Status.ALREADY_EXISTS],
  [FailedPrecondition, Status.FAILED_PRECONDITION],
  [Aborted, Status.ABORTED],
  [OutOfRange, Status.OUT_OF_RANGE],
  [PermissionDenied, Status.PERMISSION_DENIED],
  [Unauthenticated, Status.UNAUTHENTICATED],
  [ResourceExhausted, Status.RESOURCE_EXHAUSTED],
  [Unavailable, Status.UNAVAILABLE],
  [StoreDamaged, Status.DATA_LOSS],
];

export function codeOf(error: ApiError): Status {
  return CODES.find(([type]) => error instanceof type)?.[1] ?? Status.INTERNAL;
}

/** The details carry every fault; the message only has to say what kind of thing is wrong. */
function messageOf(error: ApiError): string {
  if (!(error instanceof InvalidArgument) || error.faults.length <= FAULTS_IN_MESSAGE_MAX) return error.message;
  const shown = error.faults.slice(0, FAULTS_IN_MESSAGE_MAX).map(({ path, message }) => `${path}: ${message}`);
  return `${shown.join("; ")}; and ${error.faults.length - FAULTS_IN_MESSAGE_MAX} more`;
}

/** All faults, unless there are so many that the answer would not arrive: then the first, and how many more. */
function withinTrailer(faults: Fault[]): Fault[] {
  let bytes = 0;
  const fitting = faults.findIndex(({ path, message }) => (bytes += Buffer.byteLength(path) + Buffer.byteLength(message)) > FAULTS_BYTES_MAX);
  if (fitting === -1) return faults;
  return [...faults.slice(0, fitting), { path: faults[fitting]!.path, message: `and ${faults.length - fitting} more faults from here on` }];
}

export function detailsOf(error: ApiError): ErrorDetails[] {
  const { reason, metadata = {} } = error.info;
  const details: ErrorDetails[] = [ErrorInfo.fromPartial({ reason, domain: DOMAIN, metadata })];
  if (error instanceof InvalidArgument) {
    const fieldViolations = withinTrailer(error.faults).map(({ path, message }) => ({ field: path, description: message }));
    details.push(BadRequest.fromPartial({ fieldViolations }));
  }
  if (error instanceof FailedPrecondition) {
    const violations = error.preconditions.map(({ type, subject, message }) => ({ type, subject, description: message }));
    details.push(PreconditionFailure.fromPartial({ violations }));
  }
  if (error instanceof NotFound) details.push(ResourceInfo.fromPartial({ resourceName: metadata["resource"] ?? "" }));
  if (error instanceof ResourceExhausted) {
    const { retryAfterMs } = error;
    const retryDelay = { seconds: Math.floor(retryAfterMs / 1000), nanos: (retryAfterMs % 1000) * 1_000_000 };
    details.push(RetryInfo.fromPartial({ retryDelay }));
  }
  return details;
}
