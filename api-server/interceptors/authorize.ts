/**
 * Lets a call through or not, before anything is looked up or checked: what is refused looks the same whether or not the
 * object exists. A stream goes on only as long as its caller's rights stay what they were when it was opened.
 */
import type { Clock } from "../../lib/clock.ts";
import { Aborted, PermissionDenied } from "../../lib/errors.ts";
import type { Authorizer, Question, Scopes } from "../auth/authorizer.ts";
import type { Caller } from "../objects.ts";
import { Undecodable } from "../validate/undecodable.ts";
import { isCollection, isNamespaced, questionOf, requireClass } from "./roles.ts";

/** `namespaces`: a list or watch of all of them shows these only. `question` is absent for what needs no right. */
export type Leave = { question?: Question; namespaces?: readonly string[] };

export type Asked = { rpc: string; caller: Caller; request: unknown };

/** Throws PermissionDenied. Streams of requests have no request here: they are for one class of callers. */
export async function authorize(authorizer: Authorizer, { rpc, caller, request }: Asked): Promise<Leave> {
  const right = requireClass(rpc, caller);
  if (right === undefined) return {};
  // Bytes that name no object are refused as such to whoever may do this anywhere at all: they say nothing of any object.
  if (request instanceof Undecodable) return leaveAnywhere(caller, { ...right, namespace: "", name: "" }, await whereSeen(authorizer, caller, right));
  const question = questionOf(right, request as Record<string, unknown>);
  const { allowed } = await authorizer.decide(caller, question);
  if (allowed) return { question };
  if (!isCollection(right) || question.namespace !== "") throw refusal(caller, question);
  return leaveAnywhere(caller, question, await whereSeen(authorizer, caller, question));
}

/** Rights in some namespaces show nothing of a kind that has none. */
async function whereSeen(authorizer: Authorizer, caller: Caller, { verb, kind }: Pick<Question, "verb" | "kind">): Promise<Scopes> {
  if (isNamespaced(kind)) return authorizer.scopes(caller, { verb, kind });
  return (await authorizer.decide(caller, { verb, kind, namespace: "", name: "" })).allowed ? "all" : [];
}

function leaveAnywhere(caller: Caller, question: Question, scopes: Scopes): Leave {
  if (scopes === "all") return { question };
  if (scopes.length === 0) throw refusal(caller, question);
  return { question, namespaces: scopes };
}

function refusal({ subject }: Caller, { verb, kind, namespace }: Question): PermissionDenied {
  return new PermissionDenied(`"${subject}" may not ${verb} ${kind}${namespace === "" ? "" : ` in namespace "${namespace}"`}`);
}

/** setTimeout takes no more; a credential that lives longer is looked at again then. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** Aborts with what the caller is told: rights have changed, or the credential has ended. */
export function whileAllowed({ authorizer, clock }: { authorizer: Authorizer; clock: Clock }, caller: Caller, leave: Leave): { signal: AbortSignal } & Disposable {
  const ends = new AbortController();
  const stop = (message: string, reason: string) => ends.abort(new Aborted(message, { reason }));
  const look = async () => {
    const now = leave.question ? await leaveNow(authorizer, caller, leave.question) : leave;
    if (!sameNamespaces(now, leave)) stop("The caller's rights have changed: open the stream again, a watch from its start", "ACCESS_CHANGED");
  };
  const check = () => void look().catch((error: unknown) => ends.abort(error));
  const forget = authorizer.onChange(check);
  // For what changed between the leave and here.
  check();
  const timer = expiry(clock, caller, () => stop("The credential has ended: open the stream again with a new one", "CREDENTIAL_EXPIRED"));
  return {
    signal: ends.signal,
    [Symbol.dispose]() {
      forget();
      timer.cancel();
    },
  };
}

/** Undefined when the caller may no more. */
async function leaveNow(authorizer: Authorizer, caller: Caller, question: Question): Promise<Leave | undefined> {
  if ((await authorizer.decide(caller, question)).allowed) return { question };
  const namespaces = question.namespace === "" && question.name === "" ? await whereSeen(authorizer, caller, question) : [];
  if (namespaces === "all") return { question };
  return namespaces.length === 0 ? undefined : { question, namespaces };
}

function sameNamespaces(now: Leave | undefined, then: Leave): boolean {
  return now !== undefined && now.namespaces?.join() === then.namespaces?.join();
}

function expiry(clock: Clock, { expireTime }: Caller, run: () => void): { cancel(): void } {
  if (expireTime === undefined) return { cancel: () => undefined };
  let timer = { cancel: () => undefined as void };
  const wait = () => {
    const leftMs = expireTime.getTime() - clock.now().getTime();
    if (leftMs <= 0) run();
    else timer = clock.after(Math.min(leftMs, TIMER_MS_MAX), wait);
  };
  wait();
  return { cancel: () => timer.cancel() };
}
