/** The API server by itself: creates, gets and a write that many watch; beside a bare grpc-js echo and the raw store. */
import { VirtualMachine, RunStrategy, VirtualMachineServiceDefinition } from "../gen/drover/v1/virtual_machine.ts";
import { connect } from "../lib/client.ts";
import type { Connection } from "../lib/client.ts";
import { systemClock } from "../lib/clock.ts";
import { startEcho } from "./echo.ts";
import type { Echo } from "./echo.ts";
import { figure } from "./figure.ts";
import type { Figure, Report } from "./figure.ts";
import { underLoad } from "./load.ts";
import type { Measured } from "./load.ts";
import { LocalFleet } from "./local-fleet.ts";
import { bareMachine, NAMESPACE } from "./machines.ts";
import type { Settings } from "./settings.ts";
import { median, quantile } from "./statistics.ts";
import { benchStore } from "./store.ts";
import { Watch } from "./watch.ts";
import type { WatchMessage } from "./watch.ts";

const CLIENTS = 64;
const ROUND_MS = 1_000;
const WATCHERS = 200;
const WATCHER_CONNECTIONS = 4;
const FAN_OUTS = 100;
const QUICK_FAN_OUTS = 20;
const EVERYTHING = { namespace: NAMESPACE, fromRevision: "", labelSelector: "", fieldSelector: "" };

type Kind = "create" | "create alone" | "get" | "echo";

export async function benchApi({ pairs, quick, say }: Settings): Promise<Report[]> {
  await using fleet = await LocalFleet.start({ agents: [], controller: false, apiServer: { logLevel: "warn" } });
  const access = await fleet.access();
  using connection = connect(access);
  using echo = await startEcho();
  const measured = await interleaved({ connection, echo }, pairs, say);
  const fanOut = await fanOuts(access, quick ? QUICK_FAN_OUTS : FAN_OUTS);
  return [
    { title: `API server over TLS with a token, ${CLIENTS} calls at once unless it says otherwise`, figures: [...rates(measured), ...fanOutFigures(fanOut)] },
    { title: "Store under it, in the benchmark's own process", figures: (await benchStore()).map(({ name, value, unit, ratio }) =>
      figure(name, value, unit as Figure["unit"], ratio === undefined ? {} : { note: `${ratio.toFixed(2)}× a single insert` })) },
  ];
}

async function interleaved({ connection, echo }: { connection: Connection; echo: Echo }, rounds: number, say: Settings["say"]): Promise<Record<Kind, Measured[]>> {
  const api = connection.client(VirtualMachineServiceDefinition);
  const create = (name: string) => api.createVirtualMachine({ virtualMachine: bareMachine({ name, runStrategy: RunStrategy.HALTED, memory: "64Mi" }), requestId: "", validateOnly: false });
  const { virtualMachine } = await create("model");
  const bytes = Buffer.from(VirtualMachine.encode(virtualMachine!).finish());
  const measured: Record<Kind, Measured[]> = { create: [], "create alone": [], get: [], echo: [] };
  const load = { clients: CLIENTS, forMs: ROUND_MS };
  for (let round = 0; round <= rounds; round++) {
    const results: [Kind, Measured][] = [
      ["create", await underLoad(load, (client, index) => create(`many-${round}-${client}-${index}`))],
      ["create alone", await underLoad({ ...load, clients: 1 }, (_, index) => create(`one-${round}-${index}`))],
      ["get", await underLoad(load, () => api.getVirtualMachine({ namespace: NAMESPACE, name: "model" }))],
      ["echo", await underLoad(load, () => echo.call(bytes))],
    ];
    say(`api ${round}/${rounds}: ${results.map(([kind, { rate }]) => `${kind} ${rate.toFixed(0)}/s`).join(", ")}`);
    if (round > 0) for (const [kind, result] of results) measured[kind].push(result); // The first one warms up.
  }
  return measured;
}

function rates(measured: Record<Kind, Measured[]>): Figure[] {
  const rate = (kind: Kind) => median(measured[kind].map((one) => one.rate));
  const p99 = (kind: Kind) => quantile(measured[kind].flatMap(({ timesMs }) => timesMs), 0.99);
  const row = (name: string, kind: Kind): Figure[] => [
    figure(name, rate(kind), "/s", { note: `${(rate(kind) / rate("echo")).toFixed(2)}× the echo` }),
    figure(`${name}, p99`, p99(kind), "ms"),
  ];
  return [
    ...row("durable creates", "create"),
    figure("durable creates, one at a time", rate("create alone"), "/s"),
    figure("durable creates, one at a time, p99", p99("create alone"), "ms"),
    ...row("gets", "get"),
    figure("bare grpc-js echo of the same bytes", rate("echo"), "/s"),
    figure("bare grpc-js echo of the same bytes, p99", p99("echo"), "ms"),
  ];
}

/** From the call of a write until the last of all watchers has it. */
async function fanOuts(access: Awaited<ReturnType<LocalFleet["access"]>>, count: number): Promise<number[]> {
  const connections = Array.from({ length: WATCHER_CONNECTIONS }, () => connect(access));
  const [first] = connections;
  const writer = first!.client(VirtualMachineServiceDefinition);
  const selector = { ...EVERYTHING, labelSelector: "bench=fan-out" };
  const watches = await Promise.all(Array.from({ length: WATCHERS }, (_, index) => {
    const api = connections[index % connections.length]!.client(VirtualMachineServiceDefinition);
    return Watch.open<VirtualMachine>((signal) => api.watchVirtualMachines(selector, { signal }) as AsyncIterable<WatchMessage<VirtualMachine>>);
  }));
  const timesMs: number[] = [];
  for (let index = 0; index < count; index++) {
    const name = `fan-out-${index}`;
    const machine = bareMachine({ name, runStrategy: RunStrategy.HALTED, memory: "64Mi" });
    const seen = watches.map((watch) => watch.next(name, ({ object }) => object.metadata?.name === name));
    const beganMs = systemClock.monotonicMs();
    await writer.createVirtualMachine({ virtualMachine: { ...machine, metadata: { ...machine.metadata!, labels: { bench: "fan-out" } } }, requestId: "", validateOnly: false });
    const all = await Promise.all(seen);
    timesMs.push(Math.max(...all.map(({ atMs }) => atMs)) - beganMs);
  }
  for (const watch of watches) watch[Symbol.dispose]();
  for (const one of connections) one[Symbol.dispose]();
  return timesMs;
}

function fanOutFigures(timesMs: readonly number[]): Figure[] {
  return [0.5, 0.99].map((part) => figure(`one write to ${WATCHERS} watchers, p${part * 100}`, quantile(timesMs, part), "ms"));
}
