/** The controller's decisions against hosts that come, go and lie still: one guest at most, and the truth in the record. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { CancelOutcome, MigrationPhase, MigrationReason } from "../../../gen/drover/v1/migration.ts";
import { PowerIntent, PrintableStatus, RunOutcome, RunStrategy } from "../../../gen/drover/v1/virtual_machine.ts";
import { Phase } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { hasEnded } from "../../../controller/migration/story.ts";
import { Fleet } from "./fleet.ts";
import { Lost } from "./world.ts";

function started(strategy: RunStrategy = RunStrategy.ALWAYS): Fleet {
  const fleet = new Fleet(["a", "b"]);
  fleet.world.addMachine(strategy);
  fleet.rest();
  return fleet;
}

describe("a start", () => {
  it("ends with one guest, the record naming its node, within the commits that it may cost", () => {
    const fleet = new Fleet(["a", "b"]);
    fleet.world.addMachine(RunStrategy.ALWAYS);
    fleet.world.settle();
    fleet.agent(fleet.world.instance()!.status.nodeName);
    fleet.agent(fleet.world.instance()!.status.nodeName);
    fleet.world.settle();
    assert.deepEqual(fleet.running(), [fleet.world.instance()!.status.nodeName]);
    assert.equal(fleet.world.machine()!.status.printableStatus, PrintableStatus.RUNNING);
    assert.equal(fleet.world.machine()!.status.ready, true);
    // Besides these: the verb, the claim, the report.
    assert.deepEqual(fleet.world.commits.filter((commit) => commit !== "put-node"), ["create-instance", "hold-volume", "put-instance", "put-machine"]);
  });

  it("freezes the hardware of the first run and gives it to the next", () => {
    const fleet = started();
    const first = fleet.world.instance()!;
    assert.equal(first.status.hardware?.machineType, "pc-q35-7.2");
    assert.equal(fleet.world.machine()!.status.frozen?.cpuModel, first.status.hardware?.cpuModel);
    fleet.shutDown();
    fleet.rest();
    const second = fleet.world.instance()!;
    assert.notEqual(second.metadata.uid, first.metadata.uid);
    assert.deepEqual(second.status.hardware, first.status.hardware);
    assert.ok(second.status.epoch > first.status.lastGrantedEpoch);
  });
});

describe("an end", () => {
  it("gives everything back after a stop and keeps the machine off", () => {
    const fleet = started();
    fleet.world.power(PowerIntent.STOP);
    fleet.rest();
    assert.equal(fleet.world.instance(), undefined);
    assert.deepEqual(fleet.running(), []);
    assert.equal(fleet.world.machine()!.status.printableStatus, PrintableStatus.STOPPED);
    assert.equal(fleet.world.machine()!.status.lastRun?.outcome, RunOutcome.STOPPED);
    assert.deepEqual(fleet.world.caches.volumes.list().map(({ status }) => status.holder), [undefined]);
  });

  it("leaves a machine off that shut itself down under RerunOnFailure, and starts it again under Always", () => {
    for (const [strategy, again] of [[RunStrategy.RERUN_ON_FAILURE, false], [RunStrategy.ALWAYS, true], [RunStrategy.ONCE, false]] as const) {
      const fleet = started(strategy);
      fleet.shutDown();
      fleet.rest();
      assert.equal(fleet.running().length === 1, again, `strategy ${strategy}`);
    }
  });

  it("ends one run for a restart and begins another, once", () => {
    const fleet = started(RunStrategy.MANUAL);
    fleet.world.power(PowerIntent.RUN);
    fleet.rest();
    const { uid } = fleet.world.instance()!.metadata;
    fleet.world.power(PowerIntent.RUN, { restartUid: uid });
    fleet.rest();
    const next = fleet.world.instance()!.metadata.uid;
    assert.notEqual(next, uid);
    fleet.rest();
    assert.equal(fleet.world.instance()!.metadata.uid, next);
  });
});

describe("a migration", () => {
  it("moves the guest and the record together, within the commits that it may cost", () => {
    const fleet = started();
    const source = fleet.world.instance()!.status.nodeName;
    const target = source === "a" ? "b" : "a";
    fleet.world.commits.length = 0;
    fleet.world.addMigration("move");
    fleet.world.settle();
    for (let turn = 0; turn < 6; turn += 1) {
      fleet.agent(target);
      fleet.agent(source);
      if (fleet.host(source).calling) fleet.transfer("moves");
      fleet.world.settle();
    }
    const [migration] = fleet.world.migrations();
    assert.equal(migration?.status.phase, MigrationPhase.SUCCEEDED);
    assert.deepEqual(fleet.running(), [target]);
    assert.equal(fleet.world.instance()!.status.nodeName, target);
    assert.equal(fleet.world.instance()!.status.epoch, fleet.host(target).guest!.epoch);
    assert.equal(fleet.world.machine()!.status.nodeName, target);
    const phases = migration.status.transitions.map(({ phase }) => phase);
    assert.deepEqual(phases, phases.toSorted((a, b) => a - b), "phases are told in their order");
    // Besides these: the verb and the reports ready, issued, running, left.
    assert.ok(fleet.world.commits.length <= 7, fleet.world.commits.join(", "));
  });

  it("stays at the source under an epoch above the target's when the transfer fails", () => {
    const fleet = started();
    const { nodeName, epoch } = fleet.world.instance()!.status;
    fleet.world.addMigration("move");
    advanceToIssued(fleet);
    fleet.transfer("stays");
    fleet.rest();
    assert.equal(fleet.world.migrations()[0]?.status.reason, MigrationReason.TRANSFER_FAILED);
    assert.deepEqual(fleet.running(), [nodeName]);
    assert.equal(fleet.world.instance()!.status.nodeName, nodeName);
    assert.equal(fleet.world.instance()!.status.epoch, epoch + 2);
    assert.equal(fleet.world.instance()!.status.claim?.epoch, epoch + 2);
  });

  it("waits for ever for a silent source that has begun, says so, and hands off when the guest turns up at the target", () => {
    const fleet = started();
    const source = fleet.world.instance()!.status.nodeName;
    const target = source === "a" ? "b" : "a";
    fleet.world.addMigration("move");
    advanceToIssued(fleet);
    fleet.world.silence(source);
    fleet.host(source).up = false;
    for (let turn = 0; turn < 5; turn += 1) {
      fleet.world.nowMs += 86_400_000;
      fleet.world.settle();
    }
    const [waiting] = fleet.world.migrations();
    assert.equal(waiting?.status.phase, MigrationPhase.RUNNING);
    assert.match(waiting?.status.waitingFor.join() ?? "", new RegExp(`node/${source}`));
    assert.equal(fleet.world.machine()!.status.printableStatus, PrintableStatus.UNKNOWN);
    fleet.transfer("moves");
    fleet.agent(target);
    fleet.world.settle();
    assert.equal(fleet.world.instance()!.status.nodeName, target);
    assert.equal(fleet.world.migrations()[0]?.status.phase, MigrationPhase.SUCCEEDED);
  });

  it("loses the race when it is asked for twice", () => {
    const fleet = started();
    fleet.world.addMigration("one");
    fleet.world.addMigration("two");
    advanceToIssued(fleet);
    const two = fleet.world.migrations().find(({ metadata }) => metadata.name === "two");
    assert.equal(two?.status.reason, MigrationReason.ALREADY_MIGRATING);
  });

  it("is cancelled before it begins, with the machine where it was", () => {
    const fleet = started();
    const { nodeName } = fleet.world.instance()!.status;
    fleet.world.addMigration("move");
    fleet.world.settle();
    cancel(fleet, "move");
    fleet.rest();
    const [migration] = fleet.world.migrations();
    assert.equal(migration?.status.phase, MigrationPhase.CANCELLED);
    assert.equal(migration?.status.cancelOutcome, CancelOutcome.CANCELLED);
    assert.deepEqual(fleet.running(), [nodeName]);
  });

  it("is aborted first when the machine is stopped under way, and then stopped", () => {
    const fleet = started();
    fleet.world.addMigration("move");
    advanceToIssued(fleet);
    fleet.world.power(PowerIntent.STOP);
    fleet.world.settle();
    assert.equal(fleet.world.instance()!.status.migration?.abortRequested, true);
    fleet.transfer("stays");
    fleet.rest();
    assert.equal(fleet.world.migrations()[0]?.status.reason, MigrationReason.MACHINE_STOPPING);
    assert.deepEqual(fleet.running(), []);
    assert.equal(fleet.world.instance(), undefined);
  });

  it("keeps the five latest of an instance", () => {
    const fleet = started();
    for (let count = 0; count < 7; count += 1) {
      fleet.world.addMigration(`move-${count}`, { targetNode: "nowhere" });
      fleet.rest();
      fleet.world.nowMs += 31_000;
      fleet.rest();
    }
    assert.deepEqual(fleet.world.migrations().map(({ metadata }) => metadata.name).sort(), ["move-2", "move-3", "move-4", "move-5", "move-6"]);
  });
});

describe("silence and a fence", () => {
  it("restarts nothing before a node is confirmed fenced, and then once, elsewhere, under a higher epoch", () => {
    const fleet = started();
    const { nodeName, epoch } = fleet.world.instance()!.status;
    const { uid } = fleet.world.instance()!.metadata;
    fleet.powerOff(nodeName);
    fleet.rest();
    assert.equal(fleet.world.instance()!.metadata.uid, uid);
    assert.equal(fleet.world.machine()!.status.printableStatus, PrintableStatus.UNKNOWN);
    fleet.fence(nodeName);
    fleet.rest();
    assert.notEqual(fleet.world.instance()!.status.nodeName, nodeName);
    assert.ok(fleet.world.instance()!.status.epoch > epoch);
    assert.equal(fleet.running().length, 1);
    const node = fleet.world.caches.nodes.get(nodeName)!;
    assert.equal(node.status.fenceDoneId, node.status.fence?.id);
  });
});

const ops = fc.constantFrom(
  "everyone", "everyone", "everyone", "controller", "agent a", "agent b", "agent c", "moves", "stays", "dies", "stop", "start", "restart", "migrate", "cancel",
  "shutdown", "off a", "off b", "fence a", "fence b", "on a", "on b", "later",
);

/** What loses a race is looked at again later, as in life. */
function apply(fleet: Fleet, op: string, count: number): void {
  const { world } = fleet;
  const [verb, name] = op.split(" ");
  try {
    if (verb === "controller") void (world.turn(), world.turn());
    else if (verb === "everyone") for (const { name } of fleet.hosts) void (fleet.agent(name), world.turn());
    else if (verb === "agent") fleet.agent(name!);
    else if (verb === "moves" || verb === "stays" || verb === "dies") fleet.transfer(verb);
    else if (verb === "stop") world.power(PowerIntent.STOP);
    else if (verb === "start") world.power(PowerIntent.RUN);
    else if (verb === "restart" && world.instance()) world.power(PowerIntent.RUN, { restartUid: world.instance()!.metadata.uid });
    else if (verb === "migrate" && world.instance()?.status.phase === Phase.RUNNING) world.addMigration(`move-${count}`);
    else if (verb === "cancel") for (const { metadata, status } of world.migrations()) if (!hasEnded(status.phase)) cancel(fleet, metadata.name);
    if (verb === "shutdown") fleet.shutDown();
    if (verb === "off" && fleet.host(name!).up) fleet.powerOff(name!);
    if (verb === "fence") fleet.fence(name!);
    if (verb === "on") fleet.powerOn(name!);
    if (verb === "later") world.nowMs += 31_000;
  } catch (error) {
    if (!(error instanceof Lost)) throw error;
  }
}

describe("any sequence of verbs, looks, transfers and power cuts", () => {
  it("never runs a machine twice, never lowers an epoch, and ends in the truth", function () {
    this.timeout(120_000);
    fc.assert(
      fc.property(fc.array(ops, { minLength: 10, maxLength: 80 }), (sequence) => {
        const fleet = new Fleet(["a", "b", "c"]);
        fleet.world.addMachine(RunStrategy.ALWAYS);
        let epoch = 0;
        sequence.forEach((op, count) => {
          apply(fleet, op, count);
          assert.ok(fleet.running().length <= 1, `runs at ${fleet.running().join(" and ")} after ${op}`);
          const now = fleet.world.instance()?.status.epoch ?? 0;
          assert.ok(now === 0 || now >= epoch, `epoch fell from ${epoch} to ${now}`);
          epoch = Math.max(epoch, now);
        });
        // The faults stop: everybody is there again, and every call has come back.
        for (const name of ["a", "b", "c"]) fleet.powerOn(name);
        fleet.world.power(PowerIntent.RUN);
        for (let round = 0; round < 4; round += 1) {
          fleet.transfer("stays");
          fleet.rest();
          fleet.world.nowMs += 400_000;
        }
        assert.deepEqual(fleet.running(), [fleet.world.instance()?.status.nodeName]);
        assert.equal(fleet.world.instance()?.status.migration, undefined);
        assert.ok(fleet.world.migrations().every(({ status }) => hasEnded(status.phase)));
        assert.equal(fleet.world.machine()!.status.printableStatus, PrintableStatus.RUNNING);
      }),
      { numRuns: 400 },
    );
  });
});

function advanceToIssued(fleet: Fleet): void {
  for (let turn = 0; turn < 4; turn += 1) {
    fleet.world.settle();
    for (const { name } of fleet.hosts) fleet.agent(name);
  }
  fleet.world.settle();
  assert.ok(fleet.hosts.some(({ calling }) => calling), "the transfer has begun");
}

function cancel(fleet: Fleet, name: string): void {
  const migration = fleet.world.migrations().find(({ metadata }) => metadata.name === name)!;
  fleet.world.put(fleet.world.caches.migrations, { ...migration, status: { ...migration.status, cancelRequested: true } });
}
