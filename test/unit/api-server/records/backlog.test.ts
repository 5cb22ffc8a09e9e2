/** What a watch owes: exact in every order in which the count and the reader may come to a change. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { Backlog } from "../../../../api-server/records/backlog.ts";

/** Whether it was ever exceeded. */
function watching(bytesMax: number, counted = 0) {
  const watch = { exceeded: false, backlog: new Backlog(counted, { bytesMax, exceeded: () => void (watch.exceeded = true) }) };
  return watch;
}

describe("a watch's backlog", () => {
  it("is exceeded exactly when what is gained and not taken is more than the limit", () => {
    const steps = fc.array(fc.record({ side: fc.constantFrom("gained", "took"), bytes: fc.nat(100) }), { maxLength: 60 });
    fc.assert(fc.property(steps, fc.nat(300), (all, bytesMax) => {
      const watch = watching(bytesMax);
      const sizes = all.map(({ bytes }) => bytes);
      let [gained, taken, expected] = [0, 0, false];
      for (const { side } of all) {
        if (side === "gained" && gained < sizes.length) watch.backlog.gained(gained + 1, sizes[gained++]!);
        else if (side === "took" && taken < sizes.length) watch.backlog.took(taken + 1, sizes[taken++]!);
        const owed = sizes.slice(taken, Math.max(taken, gained)).reduce((sum, bytes) => sum + bytes, 0);
        expected ||= owed > bytesMax && side === "gained";
      }
      assert.equal(watch.exceeded, expected);
    }));
  });

  it("gives a watch that begins far behind the time to catch up", () => {
    const watch = watching(100, 50);
    for (let n = 1; n <= 50; n += 1) {
      watch.backlog.gained(50 + n, 40);
      watch.backlog.took(n, 40);
    }
    assert.ok(!watch.exceeded, "it kept its distance");
    for (let n = 101; n <= 103; n += 1) watch.backlog.gained(n, 40);
    assert.ok(watch.exceeded, "it fell behind by more than the limit");
  });
});
