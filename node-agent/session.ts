/**
 * The agent's standing with the control plane: one session after another for as long as it runs. Nothing here ever
 * waits for libvirt, so a hung daemon does not cost the node its lease.
 */
import { Channel } from "../lib/channel.ts";
import { ClientError, Status } from "nice-grpc";
import { backoffMs, RECONNECT } from "../lib/backoff.ts";
import type { Connection } from "../lib/client.ts";
import { deadline, delay } from "../lib/clock.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Random } from "../lib/random.ts";
import { CommandResult, NodeAgentServiceDefinition } from "../gen/drover/agent/v1/agent.ts";
import type {
  Assignment, Command, Hello, SessionRequest, SessionResponse, TunnelOffer, Welcome, Withdrawn,
} from "../gen/drover/agent/v1/agent.ts";
import { isRevoked, reasonOf, REVOKED } from "./control-plane.ts";
import { errorLine } from "./one-line.ts";

/** What a session tells. None of it may wait. */
export type SessionListener = {
  welcome(welcome: Welcome): void;
  assignment(assignment: Assignment): void;
  synced(): void;
  withdrawn(withdrawn: Withdrawn): void;
  tunnel(offer: TunnelOffer): void;
};

export type SessionOptions = {
  /** A connection of its own for each attempt: one that fell silent is not used again. */
  connect: () => Connection;
  /** For the lease, which outlives the certificate that the session was opened with. */
  calls: Pick<Connection, "client">;
  hello: () => Hello;
  listener: SessionListener;
  answer: (command: Command) => Promise<CommandResult>;
  clock: Clock;
  random: Random;
  log: Logger;
};

export const PROTOCOL = 1;
const OUTGOING_LIMIT = 64;
/** A lease is renewed three times in its length, so that two lost renewals do not end it. */
const RENEWALS_PER_LEASE = 3;
const WELCOME_TIMEOUT_MS = 10_000;
/** A session that stood this long was a good one: the next attempt follows at once. */
const STOOD_MS = 5_000;

export async function runSessions(options: SessionOptions, signal: AbortSignal): Promise<void> {
  const { clock, random, log } = options;
  let attempt = 0;
  let revoked = false;
  while (!signal.aborted) {
    const sinceMs = clock.monotonicMs();
    let ended: unknown;
    try {
      await runSession(options, signal);
    } catch (error) {
      ended = error;
      const again = revoked && isRevoked(error);
      if (!signal.aborted && !again) explain(error, attempt, log);
    }
    revoked = isRevoked(ended);
    attempt = clock.monotonicMs() - sinceMs > STOOD_MS ? 1 : attempt + 1;
    await delay(clock, backoffMs(revoked ? REVOKED : RECONNECT, attempt, random.fraction()), signal).catch(() => undefined);
  }
}

function explain(error: unknown, attempt: number, log: Logger): void {
  if (error instanceof ClientError && error.code === Status.ALREADY_EXISTS) {
    log.error({ reason: reasonOf(error), message: error.details }, "the API server refuses this node's identity");
  } else if (isRevoked(error)) {
    log.error("this node was revoked, or its identity replaced: machines run on, and nothing is changed. An operator must make a token, and join this host with it");
  } else if (attempt < 2) log.warn({ error }, "no session with the API server; trying again");
  else log.debug({ error }, "no session with the API server; trying again");
}

/** One session, until it ends in whatever way. */
async function runSession(options: SessionOptions, signal: AbortSignal): Promise<void> {
  using connection = options.connect();
  const client = connection.client(NodeAgentServiceDefinition);
  const outgoing = new Channel<SessionRequest>(OUTGOING_LIMIT);
  outgoing.offer({ message: { $case: "hello", value: options.hello() } });
  const ending = new AbortController();
  const end = () => ending.abort(signal.reason);
  signal.addEventListener("abort", end, { once: true });
  const impatience = options.clock.after(WELCOME_TIMEOUT_MS, () => ending.abort(new NoWelcome()));
  const renewing: Promise<void>[] = [];
  try {
    for await (const response of client.session(outgoing, { signal: ending.signal })) {
      if (response.message?.$case === "welcome") {
        impatience.cancel();
        renewing.push(renew({ ...options, welcome: response.message.value, ending }));
      }
      receive(response, options, outgoing);
    }
  } catch (error) {
    throw ending.signal.aborted ? ending.signal.reason : error;
  } finally {
    impatience.cancel();
    signal.removeEventListener("abort", end);
    ending.abort(new SessionEnded());
    outgoing.close();
    await Promise.all(renewing);
  }
}

class NoWelcome extends Error {
  override name = "NoWelcome";
}
class SessionEnded extends Error {
  override name = "SessionEnded";
}

/** Ends the session when the lease can no longer be counted on, since the server then takes the node for silent. */
async function renew(
  { calls, welcome, clock, log, ending }: SessionOptions & { welcome: Welcome; ending: AbortController },
): Promise<void> {
  const { sessionId } = welcome;
  let leaseMs = welcome.leaseMs;
  let validUntilMs = clock.monotonicMs() + leaseMs;
  const { signal } = ending;
  while (!signal.aborted) {
    await delay(clock, leaseMs / RENEWALS_PER_LEASE, signal).catch(() => undefined);
    if (signal.aborted) return;
    const askedMs = clock.monotonicMs();
    try {
      using limit = deadline(clock, leaseMs / RENEWALS_PER_LEASE, signal);
      ({ leaseMs } = await calls.client(NodeAgentServiceDefinition).renew({ sessionId }, { signal: limit.signal }));
      validUntilMs = askedMs + leaseMs;
    } catch (error) {
      const over = clock.monotonicMs() >= validUntilMs || (error instanceof ClientError && error.code === Status.ABORTED);
      log.debug({ error, over }, "the lease was not renewed");
      if (over) ending.abort(error);
    }
  }
}

function receive({ message }: SessionResponse, options: SessionOptions, outgoing: Channel<SessionRequest>): void {
  const { listener } = options;
  switch (message?.$case) {
    case "welcome":
      return listener.welcome(message.value);
    case "assignment":
      return listener.assignment(message.value);
    case "synced":
      return listener.synced();
    case "withdrawn":
      return listener.withdrawn(message.value);
    case "tunnelOffer":
      return listener.tunnel(message.value);
    case "command":
      void answer(message.value, options, outgoing);
      return;
    case undefined:
      // A newer server says something that this version does not know.
      return;
  }
}

/** An answer that finds no room is as good as lost: whoever asked has a deadline. */
async function answer(command: Command, { answer, log }: SessionOptions, outgoing: Channel<SessionRequest>): Promise<void> {
  const value = await answer(command).catch((error: unknown): CommandResult => {
    log.debug({ error }, "a command failed");
    return CommandResult.create({ commandId: command.commandId, error: errorLine(error) });
  });
  outgoing.offer({ message: { $case: "commandResult", value } });
}
