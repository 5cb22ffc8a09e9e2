import assert from "node:assert/strict";
import { decide, NO_SUCH_REVISION } from "../../../../api-server/store/decide.ts";

describe("the decision on a write", () => {
  const table = [
    { expected: null, newest: null, verdict: { verdict: "apply" } },
    { expected: 3, newest: 3, verdict: { verdict: "apply" } },
    { expected: null, newest: 3, verdict: { verdict: "conflict", actual: 3 } },
    { expected: 2, newest: 3, verdict: { verdict: "conflict", actual: 3 } },
    { expected: 3, newest: null, verdict: { verdict: "conflict", actual: null } },
    { expected: NO_SUCH_REVISION, newest: null, verdict: { verdict: "conflict", actual: null } },
    { expected: NO_SUCH_REVISION, newest: 3, verdict: { verdict: "conflict", actual: 3 } },
  ];
  for (const { expected, newest, verdict } of table) {
    it(`${expected} over ${newest} is ${verdict.verdict}, unless the request was carried out before`, () => {
      assert.deepEqual(decide(expected, { newest }), verdict);
      assert.deepEqual(decide(expected, { newest, done: "entry" }), { verdict: "replayed", entry: "entry" });
    });
  }
});
