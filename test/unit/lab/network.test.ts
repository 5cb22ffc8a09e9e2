/** A lab takes no network that the machine already uses. */
import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { overlaps } from "../../lab/network.ts";

describe("the lab's network: overlaps", () => {
  const cases: [string, string, boolean][] = [
    ["10.77.1.0/24", "10.77.1.0/24", true],
    ["10.77.1.9/32", "10.77.1.0/24", true],
    ["10.77.0.0/16", "10.77.1.0/24", true],
    ["10.0.0.0/8", "10.77.1.0/24", true],
    ["0.0.0.0/0", "10.77.1.0/24", true],
    ["10.77.2.0/24", "10.77.1.0/24", false],
    ["192.168.0.0/16", "10.77.1.0/24", false],
    ["172.17.0.1/16", "172.16.0.0/24", false],
  ];
  for (const [left, right, expected] of cases) {
    it(`${left} and ${right}: ${expected}`, () => {
      assert.equal(overlaps(left, right), expected);
      assert.equal(overlaps(right, left), expected);
    });
  }
});
