import assert from "node:assert/strict";
import * as fc from "fast-check";
import { Condition } from "../../../gen/drover/v1/meta.ts";
import { sameMessage } from "../../../lib/same.ts";

describe("sameness of values", () => {
  it("is that of their parts", () => {
    fc.assert(fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
      assert.ok(sameMessage(a, structuredClone(a)));
      if (sameMessage(a, b)) assert.deepStrictEqual(a, b);
    }));
  });

  it("looks into dates and bytes, and takes no kind for another", () => {
    assert.ok(sameMessage({ at: new Date(5), bytes: Uint8Array.of(1) }, { at: new Date(5), bytes: Uint8Array.of(1) }));
    for (const [a, b] of [[new Date(5), new Date(6)], [Uint8Array.of(1), Uint8Array.of(2)], [new Date(0), {}], [[], {}], [null, {}], [{ a: 1 }, { a: 1, b: 2 }]]) {
      assert.equal(sameMessage(a, b), false);
    }
  });

  it("is on the wire for messages, however they are held", () => {
    const whole = Condition.create({ type: "Ready" });
    assert.ok(sameMessage(whole, { ...whole, lastTransitionTime: undefined, _unknownFields: {} }));
    assert.equal(sameMessage(whole, { ...whole, reason: "x" }), false);
  });
});
