/**
 * The driver child: the only process that loads libvirt. It holds no state worth keeping: the agent may kill it at any
 * moment, and starts another that reads everything anew. Wiring and message dispatch only.
 */
import { every, systemClock } from "../../../lib/clock.ts";
import { systemRandom } from "../../../lib/random.ts";
import { HypervisorError } from "../hypervisor.ts";
import type { FromDriver, OperationName, ToDriver } from "../protocol.ts";
import { EventRelay } from "./events.ts";
import { Host } from "./host.ts";
import { Library } from "./library.ts";
import { Opener } from "./opener.ts";
import { operations } from "./operations.ts";
import { Streams } from "./stream.ts";

const HEARTBEAT_INTERVAL_MS = 1_000;

const library = await load();
const opener = new Opener(library, systemClock);
const surroundings = {
  opener,
  relay: new EventRelay(library),
  streams: new Streams(library, send),
  clock: systemClock,
  fault: (message: string) => send({ type: "fault", message }),
};
const hosts = new Map<number, { host: Host; uri: string }>();
const stopping = new AbortController();

/** What cannot be said any more needs no word of its own: the channel that closed ends this process. */
function send(message: FromDriver): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

/** A machine without libvirt is told in one sentence; the agent goes on trying, for it may be installed. */
async function load(): Promise<Library> {
  try {
    return new Library();
  } catch (error) {
    const fault: FromDriver = { type: "fault", message: `Cannot load libvirt: ${error instanceof Error ? error.message : String(error)}` };
    await new Promise((resolve) => process.send?.(fault, resolve));
    return process.exit(1);
  }
}

function attach(number: number, uri: string): void {
  const host = new Host({
    uri,
    surroundings,
    random: systemRandom,
    emit: (event) => send({ type: "event", host: number, event }),
  });
  hosts.set(number, { host, uri });
}

async function detach(number: number): Promise<void> {
  const entry = hosts.get(number);
  hosts.delete(number);
  await entry?.host.detach();
}

async function answer({ id, host: number, operation, arguments: args }: Extract<ToDriver, { type: "call" }>): Promise<void> {
  try {
    const entry = hosts.get(number);
    if (entry === undefined) throw new HypervisorError("connection-lost", "The host was detached");
    const run = operations[operation] as (typeof operations)[OperationName];
    send({ type: "result", id, value: await run(entry.host.connection, args as never, entry.uri) });
  } catch (error) {
    const { kind, code, message } = error instanceof HypervisorError ? error : new HypervisorError("failed", String(error));
    send({ type: "error", id, kind, code, message });
  }
}

async function stop(): Promise<void> {
  await Promise.all([...hosts.keys()].map(detach));
  stopping.abort();
  await library.stop();
  send({ type: "stopped" }); // The agent ends this process on it.
}

process.on("message", (message: ToDriver) => {
  switch (message.type) {
    case "attach": return attach(message.host, message.uri);
    case "detach": return void detach(message.host);
    case "call": return void answer(message);
    case "stream": return surroundings.streams.serve(message.stream, message.request);
    case "stop": return void stop();
  }
});
// Without its agent it has nobody to work for; guests and peer-to-peer migrations go on. An orderly exit would wait for
// threads that may be stuck in a call. Whoever hears of it by a listener alone misses an agent that died during the start.
const end = () => process.kill(process.pid, "SIGKILL");
process.on("disconnect", end);
if (!process.connected) end();
// These reach the whole process group or service; the agent drains first, and then ends this process itself.
process.on("SIGTERM", () => undefined);
process.on("SIGINT", () => undefined);
await every(systemClock, HEARTBEAT_INTERVAL_MS, {
  run: () => send({ type: "heartbeat", openAgeMs: opener.oldestAgeMs }),
  signal: stopping.signal,
  onError: (error) => surroundings.fault(String(error)),
});
