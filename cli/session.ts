/** What a running command has at hand, and how a change is sent: with a request id, and again while nobody answers. */
import { ClientError, Status } from "nice-grpc-common";
import { RETRY, backoffMs } from "../lib/backoff.ts";
import { delay } from "../lib/clock.ts";
import type { Clock } from "../lib/clock.ts";
import type { Connection } from "../lib/client.ts";
import type { Random } from "../lib/random.ts";
import type { GlobalFlags } from "./command.ts";
import type { Context, Environment } from "./context.ts";
import type { Output } from "./output.ts";

export type Session = Context & {
  connection: Connection;
  out: Output;
  clock: Clock;
  random: Random;
  globals: GlobalFlags;
  environment: Environment;
  /** Aborts when the user interrupts. */
  signal: AbortSignal;
};

/** How long a change is offered to a server that does not answer, under one request id, so that it acts once. */
const RETRY_FOR_MS = 10_000;

/** A change: every attempt carries the same request id. */
export function mutate<R>(session: Session, call: (requestId: string, signal: AbortSignal) => Promise<R>): Promise<R> {
  const requestId = session.random.uuid();
  return patiently(session, (signal) => call(requestId, signal));
}

/** Calls again while nobody answers, for a while. */
export async function patiently<R>(session: Session, call: (signal: AbortSignal) => Promise<R>): Promise<R> {
  const { clock, random, signal, out } = session;
  const startedMs = clock.monotonicMs();
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call(signal);
    } catch (error) {
      const waitMs = backoffMs({ ...RETRY, firstMs: 100, maxMs: 1_000 }, attempt, random.fraction());
      if (!isUnavailable(error) || clock.monotonicMs() - startedMs + waitMs > RETRY_FOR_MS) throw error;
      if (attempt === 1 && out.isTerminal) out.remark(`the server at ${session.server.address} does not answer; trying for ${RETRY_FOR_MS / 1000} s`);
      await delay(clock, waitMs, signal);
    }
  }
}

const isUnavailable = (error: unknown): boolean => error instanceof ClientError && error.code === Status.UNAVAILABLE;
export const hasStatus = (error: unknown, ...codes: Status[]): error is ClientError => error instanceof ClientError && codes.includes(error.code);
