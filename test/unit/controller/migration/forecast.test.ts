/** What the record of a migration keeps of its forecast, and of what came. */
import assert from "node:assert/strict";
import { MigrationPhase } from "../../../../gen/drover/v1/migration.ts";
import { ForecastBasis } from "../../../../gen/drover/v1/preflight.ts";
import { RunStrategy } from "../../../../gen/drover/v1/virtual_machine.ts";
import { MigrationProgress } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { Fleet } from "../fleet.ts";

const MIB = 1024 ** 2;

function moved(fleet: Fleet, name: string): void {
  const { world } = fleet;
  world.addMigration(name);
  for (let turn = 0; turn < 20; turn += 1) {
    world.settle();
    fleet.transfer("moves");
    for (const host of fleet.hosts) fleet.agent(host.name);
    const source = world.instance()!.status.migration?.source;
    if (source && !source.progress) {
      const progress = MigrationProgress.create({
        elapsedMs: 2_000, downtimeMs: 100, memoryTotalBytes: 512 * MIB, memoryProcessedBytes: 128 * MIB, memoryBytesPerSecond: 64 * MIB, dirtyBytesPerSecond: 3 * MIB, iteration: 3,
      });
      world.changeInstance((status) => ({ ...status, migration: { ...status.migration!, source: { ...source, progress } } }));
    }
    world.nowMs += 1_000;
  }
  fleet.rest();
}

describe("the forecast in a migration's record", () => {
  it("is made once, before the move, and held against what came", () => {
    const fleet = new Fleet(["a", "b"]);
    fleet.world.addMachine(RunStrategy.ALWAYS);
    fleet.rest();
    moved(fleet, "first");
    const [first] = fleet.world.migrations();
    const { phase, forecast, figures, forecastError } = first!.status;
    assert.equal(phase, MigrationPhase.SUCCEEDED);
    assert.deepEqual([forecast?.basis, forecast?.samples], [ForecastBasis.ASSUMED, 0]);
    assert.deepEqual([figures?.totalMs, figures?.downtimeMs, figures?.bytes, figures?.iterations], [2_000, 100, 128 * MIB, 3]);
    assert.deepEqual([forecastError?.durationMs, forecastError?.downtimeMs], [2_000 - forecast!.durationMs, 100 - forecast!.downtimeMs]);

    moved(fleet, "second");
    const second = fleet.world.migrations().find(({ metadata }) => metadata.name === "second")!.status;
    assert.deepEqual([second.forecast?.basis, second.forecast?.samples, second.forecast?.dirtyBytesPerSecond], [ForecastBasis.HISTORY, 1, 3 * MIB]);
    // The first one's speed, share of the memory and fixed costs: the same again, and what the guest has been seen to change.
    assert.ok(Math.abs(second.forecast!.durationMs - 2_000) < 500, String(second.forecast!.durationMs));
  });

  it("is not there while nothing was admitted", () => {
    const fleet = new Fleet(["a", "b"]);
    fleet.world.addMachine(RunStrategy.ALWAYS);
    fleet.rest();
    fleet.world.addMigration("alone", { targetNode: "nowhere" });
    fleet.world.settle();
    assert.equal(fleet.world.migrations()[0]!.status.forecast, undefined);
  });
});
