import assert from "node:assert/strict";
import { assert as check, bigInt, property } from "fast-check";
import { formatBytes, parseQuantity, quantityBytes } from "../../../lib/quantity.ts";

describe("quantity", () => {
  it("reads Kubernetes' forms exactly", () => {
    const cases: [string, bigint | undefined][] = [
      ["0", 0n], ["1", 1n], ["128Mi", 134217728n], ["1.5Gi", 1610612736n], ["1500M", 1500000000n], ["1k", 1000n],
      ["9007199254740993", 9007199254740993n], ["16Ei", 16n * 1024n ** 6n],
      ["", undefined], ["-1", undefined], ["+1", undefined], ["1e3", undefined], ["0.3", undefined], ["1.", undefined],
      [".5Gi", undefined], ["1 Gi", undefined], ["1gi", undefined], ["1Gib", undefined], ["NaN", undefined], ["1m", undefined],
    ];
    for (const [text, bytes] of cases) assert.equal(parseQuantity(text), bytes, text);
  });

  it("never rounds: every whole number of bytes comes back", () => {
    check(property(bigInt({ min: 0n, max: 2n ** 80n }), (bytes) => parseQuantity(String(bytes)) === bytes));
  });

  it("refuses as a number what a number cannot hold", () => {
    assert.throws(() => quantityBytes("9007199254740993"), RangeError);
    assert.equal(quantityBytes("4Gi"), 4294967296);
  });

  it("prints for people", () => {
    assert.deepEqual([0, 1023, 1024, 1536, 134217728].map(formatBytes), ["0", "1023", "1Ki", "1.5Ki", "128Mi"]);
  });
});
