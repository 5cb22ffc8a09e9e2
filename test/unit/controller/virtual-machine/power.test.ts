import assert from "node:assert/strict";
import { LastRun, PowerIntent, RunOutcome, RunStrategy } from "../../../../gen/drover/v1/virtual_machine.ts";
import { isUnderstood, shallRun } from "../../../../controller/virtual-machine/power.ts";
import { retryAfterMs } from "../../../../controller/virtual-machine/run-end.ts";
import { World } from "../world.ts";

const { ALWAYS, RERUN_ON_FAILURE, MANUAL, HALTED, ONCE } = RunStrategy;
const { SUCCEEDED, FAILED, STOPPED } = RunOutcome;

function machine(strategy: RunStrategy, { intent = PowerIntent.RUN, outcome, generation = 1 }: { intent?: PowerIntent; outcome?: RunOutcome; generation?: number } = {}) {
  const world = new World();
  world.addMachine(strategy);
  const found = world.machine()!;
  const lastRun = outcome === undefined ? undefined : LastRun.create({ outcome, powerGeneration: generation });
  return { ...found, status: { ...found.status, power: { ...found.status.power!, intent }, lastRun } };
}

const again: [RunStrategy, Record<number, boolean>][] = [
  [ALWAYS, { [SUCCEEDED]: true, [FAILED]: true, [STOPPED]: true }],
  [HALTED, { [SUCCEEDED]: true, [FAILED]: true, [STOPPED]: true }],
  [RERUN_ON_FAILURE, { [SUCCEEDED]: false, [FAILED]: true, [STOPPED]: false }],
  [MANUAL, { [SUCCEEDED]: false, [FAILED]: false, [STOPPED]: false }],
  [ONCE, { [SUCCEEDED]: false, [FAILED]: false, [STOPPED]: false }],
];

describe("whether a machine shall run", () => {
  for (const [strategy, byOutcome] of again) {
    it(`strategy ${strategy}: with the intent to run, and after each outcome under it`, () => {
      assert.equal(shallRun(machine(strategy)), true, "nothing has ended yet");
      for (const outcome of [SUCCEEDED, FAILED, STOPPED]) {
        assert.equal(shallRun(machine(strategy, { outcome })), byOutcome[outcome], `outcome ${outcome}`);
        assert.equal(shallRun(machine(strategy, { outcome, generation: 0 })), true, "a run of an earlier intent does not count");
      }
    });
    it(`strategy ${strategy}: never with the intent to stop`, () => assert.equal(shallRun(machine(strategy, { intent: PowerIntent.STOP })), false));
  }

  it("does not decide on what a newer version wrote", () => {
    assert.equal(isUnderstood(machine(99 as RunStrategy)), false);
    assert.equal(isUnderstood(machine(ALWAYS, { intent: 99 as PowerIntent })), false);
    assert.equal(isUnderstood(machine(ALWAYS, { outcome: 99 as RunOutcome })), false);
  });
});

describe("the back-off", () => {
  it("grows by squares from ten seconds to five minutes, and half as much by chance", () => {
    assert.deepEqual([1, 2, 3, 5, 6, 40].map((failures) => retryAfterMs(failures, 0)), [10_000, 40_000, 90_000, 250_000, 300_000, 300_000]);
    assert.equal(retryAfterMs(1, 0.999_999), 15_000);
  });
});
