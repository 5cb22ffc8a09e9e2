/**
 * What one caller may ask for, however many connections it has, and what the server takes on in all. Nothing waits in a
 * queue: whoever is over a bound is told when to come back. Agents and the control plane are let in when users are not
 * any more, and a lease is always renewed.
 */
import type { Clock } from "../../lib/clock.ts";
import { ResourceExhausted } from "../../lib/errors.ts";
import type { Caller } from "../objects.ts";
import { Bucket, type Rate } from "./bucket.ts";

export type CallKind = "read" | "mutation" | "stream";
type Bounds = { rate: Rate; openMax: number };
export type BudgetLimits = Record<CallKind, Bounds>;

export const BUDGETS: BudgetLimits = {
  read: { rate: { burst: 500, perSecond: 500 }, openMax: 64 },
  mutation: { rate: { burst: 250, perSecond: 250 }, openMax: 64 },
  stream: { rate: { burst: 256, perSecond: 50 }, openMax: 256 },
};
/** A page of many costs as much as many reads. */
const COST_OF_LIST = 10;
const LIST = /\/List[A-Z][A-Za-z]*$/;
/** How often a caller may be told to wait before that is taken for an attack. */
const REFUSALS: Rate = { burst: 100, perSecond: 10 };
/** Calls under way in all, streams apart. */
const OF_USERS_MAX = 512;
const IN_ALL_MAX = 2_048;
const STREAMS_OF_USERS_MAX = 4_096;
const STREAMS_IN_ALL_MAX = 16_384;
/** Beyond this many callers the ones with nothing under way are forgotten, oldest first. */
const CALLERS_MAX = 8_192;
const RETRY_MS_MIN = 50;
const OVERLOAD_RETRY_MS = 500;
const ALWAYS: ReadonlySet<string> = new Set(["/drover.agent.v1.NodeAgentService/Renew"]);

type Method = { path: string; requestStream: boolean; responseStream: boolean; options: { idempotencyLevel?: string } };
type Used = Record<CallKind, { pace: Bucket; open: number }> & { refusals: Bucket };
export type Entrance = { caller: Caller; method: Method; /** From this machine, by a way in that only its administrators have. */ isLocal: boolean };
type Count = { users: number; all: number };

export class CallBudgets {
  readonly #clock: Clock;
  readonly #limits: BudgetLimits;
  readonly #callers = new Map<string, Used>();
  readonly #calls: Count = { users: 0, all: 0 };
  readonly #streams: Count = { users: 0, all: 0 };

  constructor(clock: Clock, limits: BudgetLimits = BUDGETS) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Counts the call until it is disposed of. Throws ResourceExhausted. */
  enter({ caller, method, isLocal }: Entrance): Disposable {
    if (ALWAYS.has(method.path)) return { [Symbol.dispose]: () => undefined };
    const kind = kindOf(method);
    const count = kind === "stream" ? this.#streams : this.#calls;
    const isUser = caller.role === "user" && !isLocal;
    this.#requireCapacity(kind, isUser);
    const used = isLocal || caller.role === "control-plane" ? undefined : this.#take(caller, { kind, cost: LIST.test(method.path) ? COST_OF_LIST : 1 });
    count.all += 1;
    if (isUser) count.users += 1;
    if (used) used.open += 1;
    return {
      [Symbol.dispose]: () => {
        count.all -= 1;
        if (isUser) count.users -= 1;
        if (used) used.open -= 1;
      },
    };
  }

  /** Whether it is still one that is told to wait and does. */
  minds(caller: Caller): boolean {
    return this.#used(caller).refusals.charge();
  }

  #requireCapacity(kind: CallKind, isUser: boolean): void {
    const [count, usersMax, allMax] = kind === "stream" ? [this.#streams, STREAMS_OF_USERS_MAX, STREAMS_IN_ALL_MAX] : [this.#calls, OF_USERS_MAX, IN_ALL_MAX];
    if (count.all < allMax && (!isUser || count.users < usersMax)) return;
    throw new ResourceExhausted("The server is overloaded", { reason: "OVERLOADED" }, OVERLOAD_RETRY_MS);
  }

  #take(caller: Caller, { kind, cost }: { kind: CallKind; cost: number }): Used[CallKind] {
    const { subject } = caller;
    const used = this.#used(caller)[kind];
    const { openMax } = this.#limits[kind];
    if (used.open >= openMax) {
      throw new ResourceExhausted(`"${subject}" has ${openMax} calls of the kind ${kind} under way`, { reason: "TOO_MANY_OPEN_CALLS", metadata: { kind } }, OVERLOAD_RETRY_MS);
    }
    if (!used.pace.take(cost)) {
      const retryMs = Math.max(RETRY_MS_MIN, used.pace.waitMs(cost));
      throw new ResourceExhausted(`"${subject}" calls too often`, { reason: "TOO_MANY_CALLS", metadata: { kind } }, retryMs);
    }
    return used;
  }

  #used(caller: Caller): Used {
    const name = nameOf(caller);
    const used = this.#callers.get(name) ?? this.#fresh();
    this.#callers.set(name, used);
    if (this.#callers.size > CALLERS_MAX) this.#forget();
    return used;
  }

  #fresh(): Used {
    const of = (kind: CallKind) => ({ pace: new Bucket(this.#clock, this.#limits[kind].rate), open: 0 });
    return { read: of("read"), mutation: of("mutation"), stream: of("stream"), refusals: new Bucket(this.#clock, REFUSALS) };
  }

  #forget(): void {
    for (const [subject, { read, mutation, stream }] of this.#callers) {
      if (read.open + mutation.open + stream.open === 0) {
        this.#callers.delete(subject);
        return;
      }
    }
  }
}

/** Whoever is nobody is told from others by where it calls from. */
function nameOf({ subject, source = "" }: Caller): string {
  return subject === "anonymous" ? `${subject} ${source.replace(/:\d+$/, "")}` : subject;
}

export function kindOf({ requestStream, responseStream, options }: Method): CallKind {
  if (requestStream || responseStream) return "stream";
  return options.idempotencyLevel === "NO_SIDE_EFFECTS" ? "read" : "mutation";
}
