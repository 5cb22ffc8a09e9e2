import assert from "node:assert/strict";
import { Gate } from "../../../../node-agent/libvirt/gate.ts";

describe("a gate", () => {
  it("lets its width through at once, in order, also past failures", async () => {
    const gate = new Gate(2);
    const started: number[] = [];
    const ends: (() => void)[] = [];
    const runs = Array.from({ length: 6 }, (_, index) =>
      gate.run(async () => {
        started.push(index);
        await new Promise<void>((resolve) => ends.push(resolve));
        if (index % 2 === 1) throw new RangeError(String(index));
        return index;
      }),
    );
    const results = Promise.allSettled(runs);
    for (let ended = 0; ended < 6; ended += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      assert.ok(started.length - ended <= 2);
      ends[ended]!();
    }
    assert.deepEqual((await results).map(({ status }) => status), ["fulfilled", "rejected", "fulfilled", "rejected", "fulfilled", "rejected"]);
    assert.deepEqual(started, [0, 1, 2, 3, 4, 5]);
  });
});
