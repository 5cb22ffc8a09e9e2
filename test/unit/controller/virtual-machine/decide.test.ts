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

/** The agent takes it. */
function take(world: World): void {
  world.changeInstance((status) => ({ ...status, claim: OwnerClaim.create({ epoch: status.epoch, nodeName: status.nodeName }) }));
}

function run(world: World): void {
  const ownerReport = ({ nodeName, epoch }: { nodeName: string; epoch: number }) => OwnerReport.create({ nodeName, epoch, state: DomainState.RUNNING });
  world.changeInstance((status) => ({ ...status, phase: Phase.RUNNING, reachedRunning: true, ownerReport: ownerReport(status) }));
}

const starts = (world: World) => world.notices.filter((reason) => reason === "Started").length;

describe("the word that a machine has started", () => {
  const running = () => {
    const world = failing();
    take(world);
    run(world);
    world.settle();
    assert.equal(starts(world), 1);
    return world;
  };

  it("is not said again when its node comes back after a silence", () => {
    const world = running();
    for (let time = 0; time < 3; time += 1) {
      world.silence("a");
      world.settle();
      assert.equal(world.machine()!.status.printableStatus, PrintableStatus.UNKNOWN);
      world.connect("a");
      world.settle();
    }
    assert.equal(world.machine()!.status.printableStatus, PrintableStatus.RUNNING);
    assert.equal(starts(world), 1);
  });

  it("is said once when its node fell silent before it ran", () => {
    const world = failing();
    take(world);
    world.silence("a");
    world.settle();
    assert.equal(world.machine()!.status.printableStatus, PrintableStatus.UNKNOWN);
    world.connect("a");
    run(world);
    world.settle();
    assert.equal(starts(world), 1);
  });

  it("is not said again after a pause", () => {
    const world = running();
    const report = (state: DomainState) => world.changeInstance((status) => ({ ...status, ownerReport: { ...status.ownerReport!, state } }));
    report(DomainState.PAUSED);
    world.settle();
    assert.equal(world.machine()!.status.printableStatus, PrintableStatus.PAUSED);
    report(DomainState.RUNNING);
    world.settle();
    assert.equal(starts(world), 1);
  });

  it("is said again for another run", () => {
    const world = running();
    world.power(PowerIntent.RUN, { restartUid: world.instance()!.metadata.uid });
    world.settle();
    world.changeInstance((status) => ({ ...status, phase: Phase.SUCCEEDED, ownerReport: { ...status.ownerReport!, state: DomainState.GONE } }));
    world.settle();
    take(world);
    run(world);
    world.settle();
    assert.equal(starts(world), 2);
  });
});

describe("somebody else's instance under the machine's name", () => {
  const named = () => {
    const world = failing();
    const mine = world.instance()!;
    const foreign = { ...mine, metadata: { ...mine.metadata, uid: "foreign", ownerReferences: [], finalizers: [] } };
    world.caches.instances.apply({ type: "gone", object: mine, revision: "world.500" });
    world.caches.instances.apply({ type: "put", object: { ...foreign, metadata: { ...foreign.metadata, resourceVersion: "world.501" } }, revision: "world.501" });
    world.settle();
    return world;
  };
  const failure = (world: World) => world.machine()!.status.conditions.find(({ type }) => type === "Failure");

  it("is named in a condition and an event, once, while nothing is done to it", () => {
    const world = named();
    assert.equal(failure(world)?.reason, "InstanceNameTaken");
    assert.match(failure(world)!.message, /web \(foreign\)/);
    assert.equal(world.notices.filter((reason) => reason === "InstanceNameTaken").length, 1);
    assert.equal(world.instance()!.metadata.uid, "foreign");
    assert.equal(world.machine()!.status.instanceUid, "");
  });

  it("is forgotten when it goes, and the machine starts", () => {
    const world = named();
    world.caches.instances.apply({ type: "gone", object: world.instance()!, revision: "world.900" });
    world.settle();
    assert.ok(world.instance()!.metadata.ownerReferences.length > 0);
    take(world);
    run(world);
    world.settle();
    assert.equal(failure(world)?.reason, "None");
  });

  it("holds nothing back of a machine that is off", () => {
    const world = named();
    world.power(PowerIntent.STOP);
    world.settle();
    assert.equal(failure(world)?.reason, "None");
  });
});
