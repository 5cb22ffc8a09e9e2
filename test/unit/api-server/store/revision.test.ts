import assert from "node:assert/strict";
import * as fc from "fast-check";
import { compareRevisions, formatRevision, newIdentity, numberOf, parseRevision } from "../../../../api-server/store/revision.ts";
import type { Clock } from "../../../../lib/clock.ts";
import { systemRandom } from "../../../../lib/random.ts";

describe("revisions", () => {
  it("parse to what was formatted, for every exact number", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (number) => {
        assert.deepEqual(parseRevision(formatRevision("abc1", number)), { incarnation: "abc1", number });
      }),
    );
  });

  it("are refused when no store wrote them, and never rounded", () => {
    const odd = ["", ".", "a", "1", "a.", ".1", "a.01", "a.-1", "a.1.2", "a.1e3", "a. 1", "A.1", "a.1\n", "a.9007199254740992", "a.18446744073709551615"];
    for (const text of odd) assert.equal(parseRevision(text), undefined, JSON.stringify(text));
    assert.equal(parseRevision("a.9007199254740991")?.number, Number.MAX_SAFE_INTEGER);
  });

  it("are ordered by number, not by text, and only within one incarnation", () => {
    assert.ok(compareRevisions("a.9", "a.10") < 0);
    assert.equal(compareRevisions("a.9", "a.9"), 0);
    assert.throws(() => compareRevisions("a.9", "b.9"), RangeError);
    assert.throws(() => compareRevisions("a.9", "x"), RangeError);
    assert.equal(numberOf("b.9", "a"), undefined);
  });

  it("get incarnations that sort by the time they were made", () => {
    const clockAt = (ms: number): Clock => ({ monotonicMs: () => 0, now: () => new Date(ms), after: () => ({ cancel: () => undefined }) });
    const made = [1, 36 ** 3, 1_700_000_000_000, 1_800_000_000_000, 4_000_000_000_000].map((ms) => newIdentity(clockAt(ms), systemRandom).incarnation);
    assert.deepEqual(made.toSorted(), made);
    for (const incarnation of made) assert.ok(parseRevision(formatRevision(incarnation, 1)));
  });
});
