/** What is used comes back with time, and never more than there was. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { Bucket } from "../../../../api-server/limits/bucket.ts";
import { ManualClock } from "../sessions/manual-clock.ts";

describe("a bucket", () => {
  it("gives no more than the burst and what has come back since, in any order of events", () => {
    const steps = fc.array(fc.record({ waitMs: fc.nat(500), amount: fc.integer({ min: 1, max: 20 }) }), { maxLength: 50 });
    fc.assert(fc.property(steps, (events) => {
      const clock = new ManualClock();
      const bucket = new Bucket(clock, { burst: 20, perSecond: 10 });
      let [taken, passedMs] = [0, 0];
      for (const { waitMs, amount } of events) {
        clock.pass(waitMs);
        passedMs += waitMs;
        if (bucket.take(amount)) taken += amount;
        assert.ok(taken <= 20 + passedMs / 100 + 1e-6);
      }
    }));
  });

  it("says how long to wait, and keeps its word", () => {
    const clock = new ManualClock();
    const bucket = new Bucket(clock, { burst: 5, perSecond: 10 });
    assert.ok(bucket.take(5));
    const waitMs = bucket.waitMs(3);
    assert.equal(waitMs, 300);
    clock.pass(waitMs - 1);
    assert.equal(bucket.take(3), false);
    clock.pass(1);
    assert.ok(bucket.take(3));
  });

  it("goes into debt for what has happened already, down to its bound", () => {
    const clock = new ManualClock();
    const bucket = new Bucket(clock, { burst: 5, perSecond: 10, debtMax: 20 });
    assert.deepEqual([bucket.charge(5), bucket.charge(1), bucket.charge(1_000_000)], [true, false, false]);
    assert.equal(bucket.waitMs(), 2_100);
    bucket.credit(1_000);
    assert.ok(bucket.isFull);
  });
});
