import assert from "node:assert/strict";
import { PowerIntent, PrintableStatus, RunStrategy } from "../../../../gen/drover/v1/virtual_machine.ts";
import { DomainState, OwnerClaim, OwnerReport, Phase } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { aSpec, World } from "../world.ts";

function failing(): World {
  const world = new World();
  world.addNode("a");
  world.addMachine(RunStrategy.ALWAYS);
  world.settle();
  return world;
}

/** The agent takes it and cannot start it. */
function fail(world: World): void {
  world.changeInstance((status) => ({
    ...status,
    claim: OwnerClaim.create({ epoch: status.epoch, nodeName: status.nodeName }),
    phase: Phase.FAILED,
    message: "no such kernel",
    ownerReport: OwnerReport.create({ nodeName: status.nodeName, epoch: status.epoch, state: DomainState.GONE, reason: "failed" }),
  }));
  world.settle();
}

describe("a machine that cannot start", () => {
  it("waits longer after each failure and shows why", () => {
    const world = failing();
    fail(world);
    assert.equal(world.instance(), undefined);
    assert.equal(world.machine()!.status.printableStatus, PrintableStatus.CRASH_LOOP_BACK_OFF);
    assert.equal(world.machine()!.status.lastRun?.message, "no such kernel");
    assert.equal(world.machine()!.status.startFailure?.retryAfterMs, 12_500);
    world.nowMs += 12_400;
    world.settle();
    assert.equal(world.instance(), undefined);
    world.nowMs += 200;
    world.settle();
    assert.ok(world.instance());
    fail(world);
    assert.equal(world.machine()!.status.startFailure?.consecutiveFailCount, 2);
    assert.ok(world.notices.includes("BackOff"));
  });

  it("starts at once when a person asks again", () => {
    const world = failing();
    fail(world);
    world.power(PowerIntent.RUN);
    world.settle();
    assert.ok(world.instance());
  });
});

describe("a machine on its way", () => {
  it("writes a passing word only when it lasts", () => {
    const world = new World();
    world.addMachine(RunStrategy.ALWAYS);
    world.addNode("a");
    world.settle();
    assert.ok(!world.commits.includes("put-machine"));
    world.nowMs += 1_000;
    world.settle();
    assert.equal(world.machine()!.status.printableStatus, PrintableStatus.STARTING);
  });

  it("shows why no node takes it", () => {
    const world = new World();
    world.addMachine(RunStrategy.ALWAYS);
    world.settle();
    assert.equal(world.machine()!.status.printableStatus, PrintableStatus.ERROR_UNSCHEDULABLE);
    assert.ok(world.notices.includes("FailedScheduling"));
  });

  it("is unbound and bound again, higher, when its node falls silent before it claims", () => {
    const world = new World();
    world.addNode("a");
    world.addMachine(RunStrategy.ALWAYS);
    world.settle();
    world.silence("a");
    world.addNode("b");
    world.settle();
    assert.equal(world.instance()!.status.nodeName, "b");
    assert.equal(world.instance()!.status.epoch, 2);
  });

  it("is unbound and bound again, higher, when others have taken the memory of its node before it claims", () => {
    const world = new World();
    world.addNode("a");
    world.addMachine(RunStrategy.ALWAYS);
    world.settle();
    const rival = { ...world.instance()!, metadata: { ...world.instance()!.metadata, name: "rival", uid: "uid-rival", ownerReferences: [], resourceVersion: "" } };
    world.create(world.caches.instances, { ...rival, spec: aSpec({ disks: [], guest: "7680Mi" }), status: { ...rival.status, heldVolumes: [] } });
    world.addNode("b");
    world.settle();
    assert.equal(world.instance()!.status.nodeName, "a", "a binding alone crowds nobody out");
    const held = world.caches.instances.get("default/rival")!;
    world.put(world.caches.instances, { ...held, status: { ...held.status, claim: OwnerClaim.create({ nodeName: "a", epoch: 1 }) } });
    world.settle();
    assert.deepEqual([world.instance()!.status.nodeName, world.instance()!.status.epoch], ["b", 2]);
    assert.equal(world.caches.instances.get("default/rival")!.status.nodeName, "a");
  });

  it("leaves the record of another version alone", () => {
    const world = failing();
    world.changeInstance((status) => ({ ...status, phase: 77 as Phase }));
    const before = world.commits.length;
    world.settle();
    assert.equal(world.commits.length, before);
  });
});
