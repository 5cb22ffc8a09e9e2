import assert from "node:assert/strict";
import { PowerIntent, RunOutcome, RunStrategy } from "../../../../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachine } from "../../../../gen/drover/v1/virtual_machine.ts";
import { Phase } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { InvalidArgument } from "../../../../lib/errors.ts";
import { restart, start, stop } from "../../../../api-server/subresources/power.ts";
import { instance, machine, NOW, refusalOf } from "./records.ts";

const { ALWAYS, RERUN_ON_FAILURE, HALTED, ONCE } = RunStrategy;
const verb = (run?: ReturnType<typeof instance>) => ({ requestId: "r", now: NOW, instance: run });
const lastRun = (outcome: RunOutcome, powerGeneration = 1) => ({ lastRun: { uid: "old", outcome, powerGeneration } });

describe("start", () => {
  it("sets the intent, counts the generation and forgets the last stop's hurry", () => {
    const stopped = machine({ power: { intent: PowerIntent.STOP, generation: 4, force: true, gracePeriodSeconds: 0 } });
    const { force, gracePeriodSeconds, ...power } = start(stopped, verb())!.status!.power!;
    assert.deepEqual({ force, gracePeriodSeconds }, { force: false, gracePeriodSeconds: undefined });
    assert.deepEqual([power.intent, power.generation, power.requestId, power.since], [PowerIntent.RUN, 5, "r", NOW]);
  });

  it("never touches the strategy", () => {
    const halted = machine({ strategy: HALTED, power: { intent: PowerIntent.STOP } });
    assert.equal(start(halted, verb())!.spec, halted.spec);
  });

  const again: [string, VirtualMachine, ReturnType<typeof instance> | undefined, string][] = [
    ["nothing has run yet", machine(), undefined, "unchanged"],
    ["Manual, its run ended", machine({ status: lastRun(RunOutcome.SUCCEEDED) }), undefined, "changed"],
    ["Once, its run failed", machine({ strategy: ONCE, status: lastRun(RunOutcome.FAILED) }), undefined, "changed"],
    ["RerunOnFailure, the guest shut down", machine({ strategy: RERUN_ON_FAILURE, status: lastRun(RunOutcome.SUCCEEDED) }), undefined, "changed"],
    ["RerunOnFailure, it failed", machine({ strategy: RERUN_ON_FAILURE, status: lastRun(RunOutcome.FAILED) }), undefined, "unchanged"],
    ["Always, the guest shut down", machine({ strategy: ALWAYS, status: lastRun(RunOutcome.SUCCEEDED) }), undefined, "unchanged"],
    ["Halted, started before, the guest shut down", machine({ strategy: HALTED, status: lastRun(RunOutcome.SUCCEEDED) }), undefined, "unchanged"],
    ["Manual, an older generation's run ended", machine({ power: { generation: 2 }, status: lastRun(RunOutcome.SUCCEEDED) }), undefined, "unchanged"],
    ["Manual, it runs", machine({ status: lastRun(RunOutcome.SUCCEEDED) }), instance(), "unchanged"],
    ["Manual, ended and not written down yet", machine(), instance({ status: { phase: Phase.SUCCEEDED } }), "changed"],
    ["Manual, its run is being deleted", machine(), instance({ deleting: true }), "changed"],
    ["Manual, restarting", machine({ power: { generation: 2, restartUid: "vmi-1" } }), instance({ deleting: true }), "unchanged"],
  ];
  for (const [name, vm, run, expected] of again) {
    it(`while the intent is Run: ${name}: ${expected}`, () => assert.equal(refusalOf(() => start(vm, verb(run))), expected));
  }

  it("is refused while it is being deleted", () => assert.equal(refusalOf(() => start(machine({ deleting: true }), verb())), "DELETING"));
});

describe("stop", () => {
  const stopped = machine({ power: { intent: PowerIntent.STOP, gracePeriodSeconds: 20 } });
  const cases: [string, VirtualMachine, { gracePeriodSeconds?: number; force: boolean }, string][] = [
    ["running", machine(), { force: false }, "changed"],
    ["stopped", stopped, { force: false }, "unchanged"],
    ["stopped, longer grace", stopped, { gracePeriodSeconds: 60, force: false }, "unchanged"],
    ["stopped, shorter grace", stopped, { gracePeriodSeconds: 5, force: false }, "changed"],
    ["stopped, force", stopped, { force: true }, "changed"],
    ["stopped by force, force again", machine({ power: { intent: PowerIntent.STOP, force: true } }), { force: true }, "unchanged"],
    ["being deleted", machine({ deleting: true }), { force: false }, "DELETING"],
    ["force with a grace period", machine(), { gracePeriodSeconds: 5, force: true }, "INVALID_FIELDS"],
  ];
  for (const [name, vm, ending, expected] of cases) {
    it(`${name}: ${expected}`, () => assert.equal(refusalOf(() => stop(vm, { ...verb(), ...ending })), expected));
  }

  it("names the field that contradicts force", () => {
    assert.throws(() => stop(machine(), { ...verb(), force: true, gracePeriodSeconds: 1 }), (error) =>
      error instanceof InvalidArgument && error.faults[0]?.path === "grace_period_seconds");
  });
});

describe("restart", () => {
  it("carries the uid of the run that ends", () => {
    const power = restart(machine(), { ...verb(instance()), force: false })!.status!.power!;
    assert.deepEqual([power.intent, power.restartUid, power.generation], [PowerIntent.RUN, "vmi-1", 2]);
  });

  const pending = machine({ power: { restartUid: "vmi-1", generation: 2 } });
  const cases: [string, VirtualMachine, ReturnType<typeof instance> | undefined, string][] = [
    ["nothing runs", machine(), undefined, "NOT_RUNNING"],
    ["its run has ended", machine(), instance({ status: { phase: Phase.FAILED } }), "NOT_RUNNING"],
    ["its run is being stopped", machine({ power: { intent: PowerIntent.STOP } }), instance({ deleting: true }), "NOT_RUNNING"],
    ["another's instance has its name", machine(), instance({ owned: false }), "NOT_RUNNING"],
    ["a repeat while the run ends", pending, instance({ deleting: true }), "unchanged"],
    ["it runs", machine(), instance(), "changed"],
    ["it shall stop and has not begun to", machine({ power: { intent: PowerIntent.STOP } }), instance(), "changed"],
    ["being deleted", machine({ deleting: true }), instance(), "DELETING"],
  ];
  for (const [name, vm, run, expected] of cases) {
    it(`${name}: ${expected}`, () => assert.equal(refusalOf(() => restart(vm, { ...verb(run), force: false })), expected));
  }
});
