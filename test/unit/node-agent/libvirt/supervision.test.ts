import assert from "node:assert/strict";
import * as fc from "fast-check";
import { CALL_CLASS, LIMITS, supervise } from "../../../../node-agent/libvirt/supervision.ts";
import type { OperationName } from "../../../../node-agent/libvirt/protocol.ts";

const quiet = { silentTicks: 0, openAgeMs: 0, calls: [] };
const operation = fc.constantFrom(...(Object.keys(CALL_CLASS) as OperationName[]));

describe("supervision of the driver", () => {
  it("keeps a child within its limits, to the millisecond", () => {
    const calls = [{ id: 1, operation: "list" as const, ageMs: LIMITS.deadlinesMs.query }];
    assert.deepEqual(supervise({ silentTicks: LIMITS.silentTicks, openAgeMs: LIMITS.openMs, calls }, LIMITS), { keep: true });
    for (const over of [
      { ...quiet, silentTicks: LIMITS.silentTicks + 1 },
      { ...quiet, openAgeMs: LIMITS.openMs + 1 },
      { ...quiet, calls: [{ id: 1, operation: "list" as const, ageMs: LIMITS.deadlinesMs.query + 1 }] },
    ]) assert.equal(supervise(over, LIMITS).keep, false);
  });

  it("names exactly the calls past their deadline, and never a migration", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ id: fc.nat(), operation, ageMs: fc.nat(200_000) })), (calls) => {
        const verdict = supervise({ ...quiet, calls }, LIMITS);
        const late = calls.filter((call) => call.operation !== "migrate" && call.ageMs > LIMITS.deadlinesMs[CALL_CLASS[call.operation] as "query"]);
        assert.equal(verdict.keep, late.length === 0);
        if (!verdict.keep) assert.deepEqual(verdict.overdue, late.map(({ id }) => id));
      }),
    );
  });

  it("gives libvirt its own 30 s for a domain's lock before it gives up the driver", () => {
    for (const callClass of ["change", "job"] as const) assert.ok(LIMITS.deadlinesMs[callClass] > 30_000);
  });
});
