/** Readers that do not read: the server neither hoards for them nor lets the others wait. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Client, credentials } from "@grpc/grpc-js";
import { WatchVirtualMachinesRequest } from "../../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { systemClock } from "../../lib/clock.ts";
import { wholeMachine } from "./api-machine.ts";
import { EVERYTHING, ONCE, startServer } from "./api-process.ts";
import type { Server } from "./api-process.ts";

const SLOW_READERS = 40;
const CHANGES = 250;
const NOTE_BYTES = 60_000;
/** The records themselves and what the runtime keeps; the readers together are owed forty times the records. */
const GROWTH_BYTES_MAX = 200 << 20;
const DELAY_MS_MAX = 5_000;
const DELAY_MEDIAN_MS_MAX = 1_000;
const WATCH = "/drover.v1.VirtualMachineService/WatchVirtualMachines";

describe("a watch that nobody reads", function () {
  this.timeout(60_000);
  let server: Server;
  before(async () => {
    server = await startServer();
  });
  after(() => server?.[Symbol.asyncDispose]());

  const memoryBytes = () => 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.program.pid}/status`, "utf8"))![1]);

  /** Opened, read once, and never again. */
  function standing(fromRevision: string): Client {
    const client = new Client(server.address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
    const request = Buffer.from(WatchVirtualMachinesRequest.encode(WatchVirtualMachinesRequest.create({ fromRevision })).finish());
    const stream = client.makeServerStreamRequest(WATCH, (bytes: Buffer) => bytes, (bytes) => bytes, request);
    stream.on("error", () => undefined);
    stream.once("data", () => stream.pause());
    return client;
  }

  it("costs no memory to speak of, delays nobody, and finds all of it later", async () => {
    const { machines } = server.user;
    const { virtualMachine: web } = await machines.createVirtualMachine({ ...ONCE, virtualMachine: wholeMachine() });
    const { revision: from } = await machines.listVirtualMachines(EVERYTHING);
    const slow = Array.from({ length: SLOW_READERS }, () => standing(from));
    const stop = new AbortController();
    try {
      const sentMs = new Map<string, number>();
      const delaysMs: number[] = [];
      const watching = (async () => {
        for await (const { event } of machines.watchVirtualMachines({ ...EVERYTHING, fromRevision: from }, { signal: stop.signal })) {
          if (event?.$case !== "modified") continue;
          delaysMs.push(systemClock.monotonicMs() - sentMs.get(event.value.metadata!.labels["n"]!)!);
          if (delaysMs.length === CHANGES) return;
        }
      })();
      const before = memoryBytes();
      for (let n = 0; n < CHANGES; n += 1) {
        sentMs.set(String(n), systemClock.monotonicMs());
        await machines.updateVirtualMachine({ ...ONCE, virtualMachine: changedTo(web!, n), updateMask: ["metadata.labels", "metadata.annotations"] });
      }
      await watching;
      const grownBytes = memoryBytes() - before;
      assert.ok(grownBytes < GROWTH_BYTES_MAX, `it grew by ${grownBytes >> 20} MiB`);
      const [medianMs, slowestMs] = [delaysMs.sort((a, b) => a - b)[CHANGES >> 1]!, delaysMs.at(-1)!];
      assert.ok(medianMs < DELAY_MEDIAN_MS_MAX && slowestMs < DELAY_MS_MAX, `changes took ${medianMs.toFixed()} ms, the slowest ${slowestMs.toFixed()} ms`);
      await assertWhole(from);
    } finally {
      stop.abort();
      for (const client of slow) client.close();
    }
  });

  const changedTo = (vm: VirtualMachine, n: number): VirtualMachine => ({
    ...vm, metadata: { ...vm.metadata!, resourceVersion: "", labels: { n: String(n) }, annotations: { note: "x".repeat(NOTE_BYTES) } },
  });

  /** A reader that begins where the slow ones stopped gets every change. */
  async function assertWhole(fromRevision: string): Promise<void> {
    const seen: string[] = [];
    for await (const { event } of server.user.machines.watchVirtualMachines({ ...EVERYTHING, fromRevision })) {
      if (event?.$case === "modified") seen.push(event.value.metadata!.labels["n"]!);
      if (seen.length === CHANGES) break;
    }
    assert.deepEqual(seen, Array.from({ length: CHANGES }, (_, n) => String(n)));
  }
});
