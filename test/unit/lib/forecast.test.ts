/** The model of a migration: what grows when what else grows, where it stops converging, and what history changes. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { ForecastBasis } from "../../../gen/drover/v1/preflight.ts";
import { forecast } from "../../../lib/forecast.ts";
import type { ForecastInput, ForecastOptions, Sample } from "../../../lib/forecast.ts";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const options: ForecastOptions = { bandwidthBytesPerSecond: 0, downtimeMsMax: 300, downtimeSteps: 1, autoConverge: false, postCopy: false };
const dirty = (bytesPerSecond: number) => ({ bytesPerSecond, basis: ForecastBasis.MEASURED });
const input = (fields: Partial<ForecastInput> = {}): ForecastInput => ({ memoryBytes: GIB, dirty: dirty(0), history: [], options, ...fields });
const sample = (fields: Partial<Sample> = {}): Sample =>
  ({ sourceNode: "a", targetNode: "b", totalMs: 1_500, downtimeMs: 300, bytes: 100 * MIB, memorySentBytes: 100 * MIB, memoryBytes: 200 * MIB, bytesPerSecond: 100 * MIB, modelDowntimeMs: 150, ...fields });

const anyOptions = fc.record({
  bandwidthBytesPerSecond: fc.constantFrom(0, 8 * MIB, 100 * MIB), downtimeMsMax: fc.integer({ min: 1, max: 5_000 }), downtimeSteps: fc.integer({ min: 1, max: 10 }), autoConverge: fc.boolean(), postCopy: fc.constant(false),
});
const anyInput = fc.record({
  memoryBytes: fc.integer({ min: MIB, max: 256 * GIB }),
  residentBytes: fc.option(fc.integer({ min: 0, max: 256 * GIB }), { nil: undefined }),
  diskBytes: fc.constantFrom(0, GIB),
  dirty: fc.option(fc.integer({ min: 0, max: 8 * GIB }).map(dirty), { nil: undefined }),
  history: fc.array(fc.record({ bytesPerSecond: fc.integer({ min: 0, max: GIB }), totalMs: fc.integer({ min: 0, max: 100_000 }), bytes: fc.integer({ min: 0, max: GIB }), modelDowntimeMs: fc.nat(500) }).map(sample), { maxLength: 5 }),
  options: anyOptions,
});

describe("a forecast", () => {
  it("is never negative, never more standing than lasting, and a whole number throughout", () => {
    fc.assert(fc.property(anyInput, (given) => {
      const made = forecast({ ...given, history: [] });
      const learnt = forecast(given);
      for (const { durationMs, downtimeMs, bytes, iterations, bandwidthBytesPerSecond } of [made, learnt]) {
        for (const value of [durationMs, downtimeMs, bytes, iterations, bandwidthBytesPerSecond]) assert.ok(Number.isSafeInteger(value) && value >= 0, String(value));
      }
      assert.ok(made.durationMs >= made.downtimeMs);
      assert.ok(made.iterations >= 2);
    }), { numRuns: 300 });
  });

  it("grows with the memory, with what the guest changes, and with the disks", () => {
    const more = fc.record({ memoryBytes: fc.nat(GIB), dirtyBytes: fc.nat(GIB), diskBytes: fc.nat(GIB) });
    fc.assert(fc.property(anyInput, more, (given, { memoryBytes, dirtyBytes, diskBytes }) => {
      const before = forecast(given);
      const after = forecast({
        ...given, memoryBytes: given.memoryBytes + memoryBytes, diskBytes: given.diskBytes + diskBytes, dirty: dirty((given.dirty?.bytesPerSecond ?? 0) + dirtyBytes),
      });
      assert.ok(after.durationMs >= before.durationMs, `${before.durationMs} → ${after.durationMs}`);
      assert.ok(after.bytes >= before.bytes);
      assert.ok(before.converges || !after.converges);
    }), { numRuns: 300 });
  });

  it("shrinks with the bandwidth", () => {
    fc.assert(fc.property(anyInput, (given) => {
      const [slow, fast] = [10 * MIB, 20 * MIB].map((bandwidthBytesPerSecond) => forecast({ ...given, history: [], options: { ...given.options, bandwidthBytesPerSecond } }));
      assert.ok(fast!.durationMs <= slow!.durationMs);
    }), { numRuns: 100 });
  });

  it("stops converging exactly where a round's leavings no longer fit into the standstill", () => {
    // Of a working set that is changed over and over, each round leaves the same: here what a standstill of 300 ms just sends.
    const bandwidth = 100 * MIB;
    const fits = bandwidth * 0.3;
    const within = { ...options, bandwidthBytesPerSecond: bandwidth };
    const at = (bytesPerSecond: number) => forecast(input({ memoryBytes: fits, dirty: dirty(bytesPerSecond), options: within })).converges;
    assert.equal(at(8 * GIB), true);
    assert.equal(forecast(input({ memoryBytes: fits + 1, dirty: dirty(8 * GIB), options: within })).converges, false);
  });

  it("stands still for no longer than the first step, where that is enough, and goes on to the last where it is not", () => {
    const stepped = (bytesPerSecond: number) => forecast(input({ dirty: dirty(bytesPerSecond), options: { ...options, bandwidthBytesPerSecond: 100 * MIB, downtimeMsMax: 900, downtimeSteps: 3 } }));
    assert.ok(stepped(20 * MIB).downtimeMs - 150 <= 300);
    // The fifth round leaves some 86 MiB: not what 300 or 600 ms send, but what 900 do.
    const last = stepped(90 * MIB);
    assert.equal(last.converges, true);
    assert.ok(last.downtimeMs - 150 > 600 && last.downtimeMs - 150 <= 900, String(last.downtimeMs));
  });

  it("says of an idle guest that one round is enough", () => {
    const { iterations, bytes, converges, basis } = forecast(input());
    assert.deepEqual([iterations, bytes, converges, basis], [2, GIB, true, ForecastBasis.MEASURED]);
    assert.equal(forecast(input({ dirty: undefined })).basis, ForecastBasis.ASSUMED);
  });

  it("gets a busy guest there by slowing it down, or by post-copy with hardly a standstill", () => {
    const busy = input({ dirty: dirty(500 * MIB) });
    assert.equal(forecast(busy).converges, false);
    assert.equal(forecast({ ...busy, options: { ...options, autoConverge: true } }).converges, true);
    const handed = forecast({ ...busy, options: { ...options, postCopy: true } });
    assert.equal(handed.converges, true);
    assert.ok(handed.downtimeMs < forecast(busy).downtimeMs);
  });

  it("learns speed, fixed costs, how full guests are and how long they stand, and keeps what the model said alone", () => {
    const learnt = forecast(input({ memoryBytes: 200 * MIB, history: [sample(), sample(), sample()] }));
    // Half of the memory at 100 MiB/s, and the half second that the samples took beside it.
    assert.deepEqual([learnt.durationMs, learnt.downtimeMs, learnt.bytes, learnt.samples], [1_500, 300, 100 * MIB, 3]);
    const alone = forecast(input({ memoryBytes: 200 * MIB }));
    assert.deepEqual([learnt.modelDurationMs, learnt.modelDowntimeMs], [alone.durationMs, alone.downtimeMs]);
  });

  it("is not led astray by one that went wrong", () => {
    const odd = sample({ totalMs: 900_000, downtimeMs: 60_000, bytesPerSecond: 1 });
    assert.equal(forecast(input({ memoryBytes: 200 * MIB, history: [sample(), odd, sample()] })).durationMs, 1_500);
  });
});
