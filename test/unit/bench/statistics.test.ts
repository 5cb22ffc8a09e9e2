import assert from "node:assert/strict";
import { figure, holds } from "../../../bench/figure.ts";
import { bootstrap, median, medianRatio, overhead, quantile, seeded } from "../../../bench/statistics.ts";

describe("statistics of the benchmarks", () => {
  it("takes quantiles that were measured", () => {
    const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
    assert.equal(quantile(hundred, 0.5), 50);
    assert.equal(quantile(hundred, 0.95), 95);
    assert.equal(quantile(hundred, 0.99), 99);
    assert.equal(quantile([7], 0.01), 7);
    assert.equal(median([4, 1, 3, 2]), 2.5);
  });

  it("compares within pairs, so that a slow moment of the machine meets both", () => {
    const pairs = [100, 1_000, 10_000].map((theirs) => ({ ours: theirs * 1.1, theirs }));
    assert.ok(Math.abs(medianRatio(pairs).value - 1.1) < 1e-9);
    assert.deepEqual(overhead([{ ours: 12, theirs: 10 }, { ours: 15, theirs: 10 }], 0.95).value, 5);
  });

  it("gives the same interval for the same samples, around the figure", () => {
    const fraction = seeded(1);
    const samples = Array.from({ length: 20 }, () => fraction());
    const first = bootstrap(samples, median);
    assert.deepEqual(bootstrap(samples, median), first);
    assert.ok(first.low <= first.value && first.value <= first.high && first.low < first.high);
  });

  it("holds a bound by the upper end of the interval alone", () => {
    assert.equal(holds(figure("a", 1, "×", { low: 0.9, high: 1.2, atMost: 1.1 })), false);
    assert.equal(holds(figure("a", 1, "×", { low: 0.9, high: 1.05, atMost: 1.1 })), true);
    assert.equal(holds(figure("a", 1, "×")), undefined);
  });
});
