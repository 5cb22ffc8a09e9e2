/** A reader that stops reading is told so in the end, keeps its place, and goes on from there without a gap. */
import assert from "node:assert/strict";
import { VirtualMachineServiceDefinition } from "../../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { connect } from "../../lib/client.ts";
import { EVERYTHING, ONCE, refusal, startServer } from "./api-process.ts";
import type { Server } from "./api-process.ts";
import { wholeMachine } from "./api-machine.ts";

const BUDGET_BYTES = 1 << 20;
const NOTE_BYTES = 60_000;
/** Well past the budget, and past what both ends of the connection hold on the way. */
const CHANGES = 80;

describe("a watch that falls too far behind", function () {
  this.timeout(60_000);
  let server: Server;
  before(async () => {
    server = await startServer({ watchBacklogBytesMax: BUDGET_BYTES });
  });
  after(() => server?.[Symbol.asyncDispose]());

  it("ends with RESOURCE_EXHAUSTED and its last revision, and goes on from there without a gap", async () => {
    const { machines } = server.user;
    const { virtualMachine: web } = await machines.createVirtualMachine({ ...ONCE, virtualMachine: wholeMachine() });
    const { revision: from } = await machines.listVirtualMachines(EVERYTHING);
    using stalled = await standing(from);
    for (let n = 0; n < CHANGES; n += 1) {
      await machines.updateVirtualMachine({ ...ONCE, virtualMachine: changedTo(web!, n), updateMask: ["metadata.labels", "metadata.annotations"] });
    }
    const { seen, ended, revision } = await stalled.rest();
    const { code, reason, metadata, retryMs } = ended;
    assert.deepEqual([code, reason, metadata["revision"]], ["RESOURCE_EXHAUSTED", "WATCH_TOO_SLOW", revision]);
    assert.ok(retryMs > 0 && retryMs <= 60_000, `retry after ${retryMs} ms`);
    assert.ok(seen.length > 0 && seen.length < CHANGES, `${seen.length} of ${CHANGES} came before the end`);
    // What it then has to catch up with is more than the budget, which alone is no reason to end it again.
    for await (const { event } of machines.watchVirtualMachines({ ...EVERYTHING, fromRevision: revision })) {
      if (event?.$case === "modified") seen.push(noteOf(event.value));
      if (seen.length === CHANGES) break;
    }
    assert.deepEqual(seen, Array.from({ length: CHANGES }, (_, n) => String(n)));
  });

  it("is not one that has nothing to read, whatever else is written", async () => {
    const { machines, instances } = server.user;
    const stop = new AbortController();
    const quiet = instances.watchVirtualMachineInstances({ ...EVERYTHING, fromRevision: "" }, { signal: stop.signal })[Symbol.asyncIterator]();
    assert.equal((await quiet.next()).value.event.$case, "bookmark");
    const { virtualMachine: web } = await machines.getVirtualMachine({ namespace: "", name: "web" });
    for (let n = 0; n < CHANGES; n += 1) {
      await machines.updateVirtualMachine({ ...ONCE, virtualMachine: changedTo(web!, n), updateMask: ["metadata.labels", "metadata.annotations"] });
    }
    await instances.createVirtualMachineInstance({
      ...ONCE, virtualMachineInstance: VirtualMachineInstance.create({ metadata: { name: "alone" }, spec: { domain: { memory: { guest: "64Mi" } } } }),
    });
    assert.equal((await quiet.next()).value.event.$case, "added");
    stop.abort();
  });

  /** Reads the first message and then no more, until it is asked for the rest. */
  async function standing(fromRevision: string) {
    const connection = connect({ server: server.address });
    const messages = connection.client(VirtualMachineServiceDefinition).watchVirtualMachines({ ...EVERYTHING, fromRevision })[Symbol.asyncIterator]();
    await messages.next();
    return {
      async rest() {
        const seen: string[] = [];
        let revision = fromRevision;
        const reading = async () => {
          for (let next = await messages.next(); !next.done; next = await messages.next()) {
            revision = next.value.revision;
            if (next.value.event?.$case === "modified") seen.push(noteOf(next.value.event.value));
          }
        };
        return { ended: await refusal(reading()), seen, revision };
      },
      [Symbol.dispose]: () => connection[Symbol.dispose](),
    };
  }

  const noteOf = (vm: VirtualMachine): string => vm.metadata!.labels["n"]!;

  const changedTo = (vm: VirtualMachine, n: number): VirtualMachine => ({
    ...vm, metadata: { ...vm.metadata!, resourceVersion: "", labels: { n: String(n) }, annotations: { note: "x".repeat(NOTE_BYTES) } },
  });
});
