/** One line for each call: what, who, how it ended, how long. Never what was in it. Reads and routine that went well are for debugging. */
import { type ServerMiddleware, ServerError, Status } from "nice-grpc-common";
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import { isAbortError } from "./errors.ts";

/** What Drover's own programs call all the time; the records show what came of it. */
const ROUTINE = /\/(Renew|Report|CreateVirtualMachineInstance|CreateEvent|RecordEvents|Update[A-Za-z]+Status)$/;

export function logging(log: Logger, clock: Clock): ServerMiddleware {
  return async function* loggingMiddleware(call, context) {
    const startMs = clock.monotonicMs();
    let status: Status = Status.OK;
    try {
      return yield* call.next(call.request, context);
    } catch (error) {
      status = statusOf(error);
      throw error;
    } finally {
      const line = { rpc: call.method.path, code: Status[status], durationMs: Math.round(clock.monotonicMs() - startMs), peer: context.peer };
      const quiet = status === Status.OK && (call.method.options.idempotencyLevel === "NO_SIDE_EFFECTS" || ROUTINE.test(call.method.path));
      if (quiet) log.debug(line, "call");
      else log.info(line, "call");
    }
  };
}

function statusOf(error: unknown): Status {
  if (error instanceof ServerError) return error.code;
  return isAbortError(error) ? Status.CANCELLED : Status.UNKNOWN;
}
