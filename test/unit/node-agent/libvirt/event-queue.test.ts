import assert from "node:assert/strict";
import { EventQueue } from "../../../../node-agent/libvirt/event-queue.ts";
import type { HypervisorEvent } from "../../../../node-agent/libvirt/hypervisor.ts";

const iteration = (number: number): HypervisorEvent => ({ type: "migration-iteration", uuid: "u", iteration: number });

describe("the event queue", () => {
  it("gives everything in order, whether it came before or during the reading, and ends", async () => {
    const queue = new EventQueue();
    queue.push(iteration(0));
    const read: HypervisorEvent[] = [];
    const reading = (async () => {
      for await (const event of queue.read(new AbortController().signal)) {
        read.push(event);
        if (read.length === 1) queue.push(iteration(1));
      }
    })();
    await new Promise((resolve) => setImmediate(resolve));
    queue.push(iteration(2));
    queue.end();
    await reading;
    assert.deepEqual(read, [0, 1, 2].map(iteration));
  });

  it("wakes its reader when the signal aborts", async () => {
    const queue = new EventQueue();
    const stop = new AbortController();
    const next = queue.read(stop.signal).next();
    stop.abort();
    assert.equal((await next).done, true);
  });

  it("turns an overflow into one word that all must be read anew", async () => {
    const queue = new EventQueue();
    queue.push({ type: "connected", generation: 7 });
    for (let number = 0; number < 100_000; number += 1) queue.push(iteration(number));
    queue.push(iteration(-1));
    queue.end();
    const read = await Array.fromAsync(queue.read(new AbortController().signal));
    assert.deepEqual(read, [{ type: "connected", generation: 7 }, iteration(-1)]);
  });
});
