/**
 * A disk whose every fsync takes half a second, under a load of writes: leases must be renewed as ever, and watches
 * must tell what is durable as soon as it is. The delay is the API server's own fault injection.
 */
import { NodeAgentServiceDefinition } from "../gen/drover/agent/v1/agent.ts";
import type { SessionRequest } from "../gen/drover/agent/v1/agent.ts";
import { BootIdentity } from "../gen/drover/v1/meta.ts";
import { RunStrategy } from "../gen/drover/v1/virtual_machine.ts";
import { Channel } from "../lib/channel.ts";
import { connect } from "../lib/client.ts";
import type { TlsFiles } from "../lib/client.ts";
import { delay, systemClock } from "../lib/clock.ts";
import { systemRandom } from "../lib/random.ts";
import { ControlPlane } from "./control-plane.ts";
import { figure } from "./figure.ts";
import type { Report } from "./figure.ts";
import { underLoad } from "./load.ts";
import { LocalFleet } from "./local-fleet.ts";
import { bareMachine } from "./machines.ts";
import type { Settings } from "./settings.ts";
import { quantile } from "./statistics.ts";

const FSYNC_MS = 500;
const RENEWAL_P99_MS = 100;
const WRITERS = 32;
const RENEW_EVERY_MS = 20;
const FOR_MS = 20_000;
const QUICK_FOR_MS = 5_000;

export async function benchSlowDisk({ quick }: Settings): Promise<Report[]> {
  const forMs = quick ? QUICK_FOR_MS : FOR_MS;
  await using fleet = await LocalFleet.start({ agents: [], controller: false });
  const certificate = await fleet.join("bench");
  await fleet.startApiServer({ faults: { commitDelayMs: FSYNC_MS } });
  using plane = await ControlPlane.open(fleet.unixServer);
  using session = await openSession(fleet, certificate);
  const seenMs = new Map<string, number>();
  using _ = plane.machines.each(({ object, atMs }) => void seenMs.set(object.metadata!.name, atMs));
  const lags: number[] = [];
  const writing = underLoad({ clients: WRITERS, forMs }, async (client, index) => {
    const name = `slow-${client}-${index}`;
    await plane.create(bareMachine({ name, runStrategy: RunStrategy.HALTED, memory: "64Mi" }));
    lags.push(await lagOf(name, seenMs));
  });
  const renewals = await renewFor(session, forMs);
  const { timesMs } = await writing;
  return [{
    title: `A disk that takes ${FSYNC_MS} ms for each fsync, with ${WRITERS} clients that write`,
    figures: [
      figure("renewal of a lease, p99", quantile(renewals, 0.99), "ms", { atMost: RENEWAL_P99_MS, note: `${renewals.length} renewals over mutual TLS` }),
      figure("renewal of a lease, most", Math.max(...renewals), "ms"),
      figure("a write, p50", quantile(timesMs, 0.5), "ms"),
      figure("from a write's answer until a watcher has it, p99", quantile(lags, 0.99), "ms", { atMost: RENEWAL_P99_MS, note: `${lags.length} writes, none missed` }),
    ],
  }];
}

/** Negative when the watcher had it before the writer had its answer. */
async function lagOf(name: string, seenMs: Map<string, number>): Promise<number> {
  const answeredMs = systemClock.monotonicMs();
  while (!seenMs.has(name)) await delay(systemClock, 1);
  return seenMs.get(name)! - answeredMs;
}

type Session = { renew(): Promise<unknown> } & Disposable;

/** A session as an agent has it; what it is told is not listened to. */
async function openSession(fleet: LocalFleet, tls: TlsFiles): Promise<Session> {
  const connection = connect({ server: fleet.agentsServer, tls });
  const client = connection.client(NodeAgentServiceDefinition);
  const requests = new Channel<SessionRequest>(1);
  const hello = {
    protocolMin: 1, protocolMax: 1, features: [], nodeUid: systemRandom.uuid(), agentInstance: systemRandom.uuid(), agentVersion: "bench",
    lastAcknowledgedSeq: 0, boot: BootIdentity.create({ kernelBootId: systemRandom.uuid(), pid1StartTime: "1" }),
  };
  requests.offer({ message: { $case: "hello", value: hello } });
  const stop = new AbortController();
  const welcomed = Promise.withResolvers<string>();
  const listen = async () => {
    for await (const { message } of client.session(requests, { signal: stop.signal })) {
      if (message?.$case === "welcome") welcomed.resolve(message.value.sessionId);
    }
  };
  listen().catch((error: unknown) => welcomed.reject(error));
  const sessionId = await welcomed.promise;
  return {
    renew: () => client.renew({ sessionId }),
    [Symbol.dispose]: () => {
      stop.abort(new Error("The session is over"));
      connection[Symbol.dispose]();
    },
  };
}

async function renewFor(session: Session, forMs: number): Promise<number[]> {
  const beganMs = systemClock.monotonicMs();
  const timesMs: number[] = [];
  while (systemClock.monotonicMs() - beganMs < forMs) {
    const askedMs = systemClock.monotonicMs();
    await session.renew();
    timesMs.push(systemClock.monotonicMs() - askedMs);
    await delay(systemClock, RENEW_EVERY_MS);
  }
  return timesMs;
}
