import assert from "node:assert/strict";
import { MigrationPhase, VirtualMachineInstanceMigration } from "../../../gen/drover/v1/migration.ts";
import { ForecastBasis, MigrationForecast } from "../../../gen/drover/v1/preflight.ts";
import { MigrationProgress } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { errorOf, figuresOf, forecastMove } from "../../../lib/forecast-history.ts";
import type { Move } from "../../../lib/forecast-history.ts";
import { instance } from "../api-server/subresources/records.ts";

const MIB = 1024 ** 2;
const run = () => {
  const vmi = instance();
  vmi.spec!.domain!.memory = { guest: "128Mi" };
  return vmi;
};

let ended = 0;
function past(fields: { vm?: string; target?: string; speed?: number; dirty?: number; phase?: MigrationPhase; figures?: boolean } = {}): VirtualMachineInstanceMigration {
  const { vm = "web", target = "b", speed = 64, dirty = 0, phase = MigrationPhase.SUCCEEDED, figures = true } = fields;
  const progress = MigrationProgress.create({
    memoryTotalBytes: 128 * MIB, memoryProcessedBytes: 64 * MIB, memoryBytesPerSecond: speed * MIB, dirtyBytesPerSecond: dirty * MIB, elapsedMs: 2_000, downtimeMs: 200, iteration: 3,
  });
  return VirtualMachineInstanceMigration.create({
    metadata: { namespace: "default", name: `m-${(ended += 1)}` },
    spec: { vmiName: vm },
    status: { phase, sourceNode: "a", targetNode: target, progress, ...(figures && { figures: figuresOf(progress) }), transitions: [{ phase, time: new Date(ended * 1_000) }] },
  });
}

const move = (fields: Partial<Move> = {}): Move =>
  ({ instance: run(), targetNode: "b", diskBytes: 0, options: { bandwidthMibPerSecond: 0, maxDowntimeMs: 300, downtimeSteps: 1, autoConverge: false, postCopy: false }, past: [], ...fields });

describe("what the past teaches", () => {
  it("is the same pair's before the fleet's, once there are a few", () => {
    const elsewhere = [past({ target: "c", speed: 10, vm: "x" }), past({ target: "c", speed: 10, vm: "x" })];
    const pair = () => past({ speed: 200, vm: "y" });
    const bandwidth = (list: VirtualMachineInstanceMigration[]) => forecastMove(move({ past: list })).bandwidthBytesPerSecond / MIB;
    assert.equal(bandwidth([...elsewhere, pair()]), 10);
    assert.equal(bandwidth([...elsewhere, pair(), pair(), pair()]), 200);
  });

  it("counts those that moved alone, and twenty at most, the newest", () => {
    const useless = [past({ phase: MigrationPhase.FAILED }), past({ phase: MigrationPhase.RUNNING }), past({ figures: false })];
    assert.equal(forecastMove(move({ past: useless })).samples, 0);
    const old = Array.from({ length: 20 }, () => past({ speed: 10 }));
    const fresh = Array.from({ length: 20 }, () => past({ speed: 50 }));
    const made = forecastMove(move({ past: [...fresh, ...old] }));
    assert.deepEqual([made.samples, made.bandwidthBytesPerSecond], [20, 50 * MIB]);
  });

  it("says how busy the very machine was, unless somebody has just measured", () => {
    const own = [past({ dirty: 5 }), past({ dirty: 7 }), past({ vm: "other", dirty: 99 })];
    const told = (fields: Partial<Move>) => {
      const { basis, dirtyBytesPerSecond } = forecastMove(move({ past: own, ...fields }));
      return [basis, dirtyBytesPerSecond / MIB];
    };
    assert.deepEqual(told({}), [ForecastBasis.HISTORY, 7]);
    assert.deepEqual(told({ inspected: { residentBytes: 0, dirtyBytesPerSecond: 3 * MIB } }), [ForecastBasis.MEASURED, 3]);
    assert.deepEqual(told({ inspected: { residentBytes: 0 } }), [ForecastBasis.HISTORY, 7]);
    assert.deepEqual(told({ past: [] }), [ForecastBasis.ASSUMED, 0]);
  });
});

describe("what a migration took", () => {
  it("is known only by the hypervisor's last figures", () => {
    assert.equal(figuresOf(undefined), undefined);
    assert.equal(figuresOf(MigrationProgress.create()), undefined);
    const figures = figuresOf(MigrationProgress.create({ elapsedMs: 10, downtimeMs: 2, memoryProcessedBytes: 5, diskProcessedBytes: 3, iteration: 4 }))!;
    assert.deepEqual([figures.totalMs, figures.downtimeMs, figures.bytes, figures.iterations], [10, 2, 8, 4]);
  });

  it("is more than was forecast where the error is positive", () => {
    const figures = figuresOf(MigrationProgress.create({ elapsedMs: 10, downtimeMs: 2, memoryProcessedBytes: 5 }));
    const error = errorOf(MigrationForecast.create({ durationMs: 4, downtimeMs: 3, bytes: 5 }), figures)!;
    assert.deepEqual([error.durationMs, error.downtimeMs, error.bytes], [6, -1, 0]);
    assert.equal(errorOf(undefined, figures), undefined);
  });
});
