/** The verdicts of waits: when a machine runs, stopped or cannot, and how a migration's end and progress are told. */
import assert from "node:assert/strict";
import { MigrationOutcome, MigrationPhase, MigrationReason, VirtualMachineInstanceMigration } from "../../../gen/drover/v1/migration.ts";
import { PowerIntent, PrintableStatus, RunOutcome, RunStrategy, VirtualMachine } from "../../../gen/drover/v1/virtual_machine.ts";
import { gone, running, stopped } from "../../../cli/machine-state.ts";
import { MigrationMode } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { migrated, progressBar, progressLine } from "../../../cli/migration-state.ts";

type Fields = NonNullable<NonNullable<Parameters<typeof VirtualMachine.create>[0]>["status"]>;

const power = { intent: PowerIntent.RUN, generation: 3 };
const machine = (status: Partial<Fields>, runStrategy: RunStrategy = RunStrategy.MANUAL) =>
  VirtualMachine.create({ metadata: { name: "web", uid: "u" }, spec: { runStrategy }, status: { power, ...status } });
const failedRun = { uid: "r1", outcome: RunOutcome.FAILED, message: "no such file", powerGeneration: 3 };

describe("running", () => {
  it("is done when the machine is ready, but not by the run that a restart ends", () => {
    const ready = machine({ ready: true, created: true, instanceUid: "r1", printableStatus: PrintableStatus.RUNNING });
    assert.deepEqual(running()(ready), { done: true });
    assert.equal(running("r1")(ready), undefined);
    assert.deepEqual(running("r0")(ready), { done: true });
  });

  it("fails by a run that ended under this power generation and is not repeated", () => {
    assert.deepEqual(running()(machine({ lastRun: failedRun })), { failed: "its run failed: no such file" });
    assert.equal(running()(machine({ lastRun: failedRun }, RunStrategy.ALWAYS)), undefined);
    assert.equal(running()(machine({ lastRun: { ...failedRun, powerGeneration: 2 } })), undefined);
    assert.equal(running("r1")(machine({ lastRun: failedRun })), undefined);
  });

  it("fails when it cannot come any more, or keeps failing", () => {
    assert.match(JSON.stringify(running()(undefined)), /does not exist/);
    assert.match(JSON.stringify(running()(machine({ power: { ...power, intent: PowerIntent.STOP } }))), /told to stop/);
    const looping = machine({ printableStatus: PrintableStatus.CRASH_LOOP_BACK_OFF, lastRun: failedRun, startFailure: { consecutiveFailCount: 2 } }, RunStrategy.ALWAYS);
    assert.deepEqual(running()(looping), { failed: "its run failed: no such file (2 times in a row)" });
    assert.equal(running()(machine({ printableStatus: PrintableStatus.ERROR_UNSCHEDULABLE })), undefined);
  });
});

describe("stopped and gone", () => {
  it("wait for the run to be gone, and end when the intent turns", () => {
    const off = { intent: PowerIntent.STOP, generation: 4 };
    assert.equal(stopped(machine({ power: off, created: true })), undefined);
    assert.deepEqual(stopped(machine({ power: off })), { done: true });
    assert.deepEqual(stopped(undefined), { done: true });
    assert.match(JSON.stringify(stopped(machine({}))), /started again/);
  });

  it("take another object under the same name for gone", () => {
    assert.equal(gone("u")(machine({})), undefined);
    assert.deepEqual(gone("other")(machine({})), { done: true });
    assert.deepEqual(gone("u")(undefined), { done: true });
  });
});

describe("migrations", () => {
  const migration = (status: NonNullable<Parameters<typeof VirtualMachineInstanceMigration.create>[0]>["status"]) =>
    VirtualMachineInstanceMigration.create({ metadata: { name: "m" }, spec: { vmiName: "web" }, status: { sourceNode: "a", targetNode: "b", ...status } });

  it("end well, badly or not yet", () => {
    assert.deepEqual(migrated(migration({ phase: MigrationPhase.SUCCEEDED })), { done: true });
    assert.equal(migrated(migration({ phase: MigrationPhase.FINALIZING })), undefined);
    assert.deepEqual(migrated(migration({ phase: MigrationPhase.FAILED, reason: MigrationReason.TARGET_REFUSED, message: "no pool" })), { failed: "Failed: TargetRefused: no pool" });
    assert.deepEqual(migrated(migration({ phase: MigrationPhase.CANCELLED, reason: MigrationReason.CANCELLED })), { failed: "Cancelled: Cancelled" });
  });

  it("show a bar while memory moves, with all that is known of it", () => {
    const MIB = 2 ** 20;
    const progress = {
      memoryTotalBytes: 400 * MIB, memoryRemainingBytes: 100 * MIB, memoryBytesPerSecond: 117 * MIB, dirtyBytesPerSecond: 12 * MIB, iteration: 3,
      downtimeLimitMs: 450, throttlePercent: 20,
    };
    const bar = progressBar(migration({ phase: MigrationPhase.RUNNING, progress, mode: MigrationMode.POST_COPY }));
    assert.equal(bar, "Running [##################------]  75 % a to b, 117.0 MiB/s, dirty 12.0 MiB/s, 100.0 MiB left, round 3, downtime up to 450 ms, slowed by 20 %, post-copy");
    const disks = { ...progress, diskTotalBytes: 400 * MIB, diskRemainingBytes: 300 * MIB };
    assert.match(progressBar(migration({ phase: MigrationPhase.RUNNING, progress: disks })), /\] {2}50 % .*, 400\.0 MiB left/);
    assert.match(progressBar(migration({ phase: MigrationPhase.RUNNING, progress: { ...progress, memoryRemainingBytes: 900 * MIB } })), /\[-{24}\] {3}0 %/);
    assert.equal(progressBar(migration({ phase: MigrationPhase.PENDING, queuePosition: 2 })), "Pending: a to b, place 2 in the queue");
    const broken = migration({ phase: MigrationPhase.RUNNING, progress, outcome: MigrationOutcome.UNKNOWN, waitingFor: ["node/a: post-copy broke"] });
    assert.match(progressBar(broken), /outcome unknown, waiting for node\/a: post-copy broke$/);
  });

  it("tell their progress, the queue and whose word is missing", () => {
    const progress = { memoryTotalBytes: 512 * 2 ** 20, memoryRemainingBytes: 96.25 * 2 ** 20, memoryBytesPerSecond: 117 * 2 ** 20, downtimeMs: 42, elapsedMs: 2_340 };
    assert.equal(progressLine(migration({ phase: MigrationPhase.RUNNING, progress })), "Running: a to b, 96.3 of 512.0 MiB left, 117.0 MiB/s, expected downtime 42 ms");
    const disks = { diskTotalBytes: 64 * 2 ** 20, diskRemainingBytes: 16 * 2 ** 20 };
    assert.equal(progressLine(migration({ phase: MigrationPhase.RUNNING, progress: { ...disks, memoryTotalBytes: 0 } })), "Running: a to b, 16.0 of 64.0 MiB of disks left");
    assert.match(progressLine(migration({ phase: MigrationPhase.RUNNING, progress: { ...progress, ...disks } })), /16\.0 of 64\.0 MiB of disks left, 96\.3 of 512/);
    assert.equal(progressLine(migration({ phase: MigrationPhase.SUCCEEDED, progress })), "Succeeded: a to b, downtime 42 ms, 2.3 s");
    assert.equal(progressLine(migration({ phase: MigrationPhase.PENDING, queuePosition: 3 })), "Pending: a to b, place 3 in the queue");
    const unknown = migration({ phase: MigrationPhase.RUNNING, outcome: MigrationOutcome.UNKNOWN, waitingFor: ["node/a: no report"] });
    assert.equal(progressLine(unknown), "Running: a to b, outcome unknown, waiting for node/a: no report");
  });
});
