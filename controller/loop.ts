/** The one loop that every kind runs in: take a key, observe and decide at once, carry out, come back when it failed. */
import { ClientError, Status } from "nice-grpc";
import { deadline } from "../lib/clock.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Action, Decision, Execute } from "./actions.ts";
import { OutOfDate } from "./execute.ts";
import type { Gate } from "./gate.ts";
import type { WorkQueue } from "./work-queue.ts";

const ACTIONS_TIMEOUT_MS = 30_000;

export type Loop = {
  name: string;
  queue: WorkQueue;
  workers: number;
  /** Observe and decide: reads caches, changes nothing. */
  reconcile: (key: string) => Decision;
  gate?: Gate;
};

type Surroundings = { execute: Execute; clock: Clock; log: Logger; signal: AbortSignal };

export async function runLoop(loop: Loop, around: Surroundings): Promise<void> {
  const log = around.log.child({ loop: loop.name });
  const worker = async () => {
    for (;;) {
      const key = await loop.queue.take(around.signal);
      if (key === undefined) return;
      await work(loop, key, { ...around, log });
    }
  };
  await Promise.all(Array.from({ length: loop.workers }, worker));
}

async function work(loop: Loop, key: string, around: Surroundings): Promise<void> {
  const gate = loop.gate ?? ((run) => run());
  let failed = false;
  try {
    await gate(async () => {
      const decision = loop.reconcile(key);
      if (decision.recheckMs !== undefined) loop.queue.addAfter(key, decision.recheckMs);
      await carryOut(decision.actions, around);
    });
  } catch (error) {
    failed = true;
    if (!around.signal.aborted) report(around.log, key, error);
  } finally {
    loop.queue.done(key, { failed });
  }
}

export async function carryOut(actions: readonly Action[], { execute, clock, signal }: Omit<Surroundings, "log">): Promise<void> {
  if (actions.length === 0) return;
  using limit = deadline(clock, ACTIONS_TIMEOUT_MS, signal);
  for (const action of actions) await perform(execute, action, limit.signal);
}

function perform<K extends Action["do"]>(execute: Execute, action: Extract<Action, { do: K }>, signal: AbortSignal): Promise<void> {
  return execute[action.do as K](action, signal);
}

/** Lost races and an absent server are daily bread; anything else is worth a look. */
const EXPECTED = new Set<Status>([Status.ABORTED, Status.ALREADY_EXISTS, Status.NOT_FOUND, Status.UNAVAILABLE, Status.FAILED_PRECONDITION]);

function report(log: Logger, key: string, error: unknown): void {
  const expected = error instanceof OutOfDate || (error instanceof ClientError && EXPECTED.has(error.code));
  log[expected ? "debug" : "warn"]({ key, error }, "will try again");
}
