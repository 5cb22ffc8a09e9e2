/** Makes each call's trail, and records what came of the call where no change tells of it: acts, and whatever was refused. */
import { type ServerMiddleware, ServerError, Status } from "nice-grpc-common";
import type { Clock } from "../../lib/clock.ts";
import { DeadlineExceeded } from "../../lib/clock.ts";
import type { Recorder } from "../audit/recorder.ts";
import { type Outcome, Trail } from "../audit/trail.ts";
import { apiErrorOf, codeOf, isAbortError } from "./errors.ts";

/** For the interceptor that finds out who calls. */
export type WithTrail = { trail?: Trail };

/** What grpc-js says of whoever comes by a socket file. */
const NO_ADDRESS = "unknown";
const DONE: Outcome = { decision: "allowed", code: "OK", reason: "" };
const DENIED: readonly string[] = [Status[Status.PERMISSION_DENIED], Status[Status.UNAUTHENTICATED]];

export function auditing({ recorder, clock }: { recorder: Pick<Recorder, "record" | "refused">; clock: Clock }): ServerMiddleware<WithTrail> {
  return async function* auditMiddleware(call, context) {
    const request = call.requestStream ? undefined : call.request;
    const trail = new Trail({ rpc: call.method.path, source: context.peer === NO_ADDRESS ? "unix" : context.peer, request, clock });
    const tell = async () => {
      if (trail.isUntold) await recorder.record(trail.told(DONE));
    };
    try {
      const answers = call.next(call.request, { ...context, trail });
      if (!call.responseStream) {
        const answer = yield* answers;
        await tell();
        return answer;
      }
      for await (const answer of answers) {
        await tell();
        yield answer;
      }
      return await tell();
    } catch (error) {
      const outcome = outcomeOf(error);
      if (outcome && (outcome.decision === "denied" || trail.auditedAs)) recorder.refused(trail.told(outcome));
      throw error;
    }
  };
}

/** Undefined when the caller went away: then it was told nothing. */
function outcomeOf(error: unknown): Outcome | undefined {
  if (isAbortError(error)) return undefined;
  const known = apiErrorOf(error);
  const code = Status[known ? codeOf(known) : statusOf(error)] ?? "UNKNOWN";
  return { decision: DENIED.includes(code) ? "denied" : "failed", code, reason: known?.info.reason ?? "" };
}

function statusOf(error: unknown): Status {
  if (error instanceof DeadlineExceeded) return Status.DEADLINE_EXCEEDED;
  return error instanceof ServerError ? error.code : Status.INTERNAL;
}
