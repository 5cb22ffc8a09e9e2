/** The life of a machine on a node: drivers, decisions and reports together, over a libvirt in memory. */
import assert from "node:assert/strict";
import { AssignmentRole } from "../../../../gen/drover/agent/v1/agent.ts";
import { BootIdentity } from "../../../../gen/drover/v1/meta.ts";
import { InstanceMigration, MigrationMode, MigrationSourceReport, MigrationSourceState, Phase } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { HypervisorError } from "../../../../node-agent/libvirt/hypervisor.ts";
import { outcomeOf } from "../../../../node-agent/migration/source-act.ts";
import { parseInstanceMetadata } from "../../../../node-agent/domain/metadata.ts";
import { Agent, BOOT, FakeControlPlane, UUID, instance, memoryEndings, running, settle, until, withGuest } from "../fixture.ts";
import { FakeHypervisor } from "../fake-hypervisor.ts";

const runs = (hypervisor: FakeHypervisor) => hypervisor.domains.get(UUID)?.state === "running";
const otherBoot = BootIdentity.create({ kernelBootId: "boot-0", pid1StartTime: "1" });

async function started(options: ConstructorParameters<typeof Agent>[0] = {}): Promise<Agent> {
  const agent = new Agent(options);
  agent.session(instance());
  await until(() => agent.controlPlane.words().includes("RUNNING"), "a reported start");
  return agent;
}

describe("a machine on its node", () => {
  it("is claimed, then started, and reported once", async () => {
    using agent = await started();
    await settle();
    assert.deepEqual(agent.controlPlane.claims, [1]);
    assert.deepEqual(agent.hypervisor.calls.filter((call) => call !== "list"), ["define", "create"]);
    assert.deepEqual(agent.controlPlane.words(), ["RUNNING"]);
  });

  it("is looked at once before the claim and once before the start, and no more for what the start itself tells", async () => {
    using agent = await started();
    await settle();
    assert.equal(agent.hypervisor.looks, 2);
    agent.assign({ ...agent.controlPlane.record!, metadata: { ...agent.controlPlane.record!.metadata!, resourceVersion: "i.77" } });
    await settle();
    assert.equal(agent.hypervisor.looks, 2);
  });

  it("is looked at again when something happened that its last look does not show", async () => {
    using agent = await started();
    await settle();
    agent.hypervisor.set(UUID, { state: "paused", reason: "ioerror" }, "suspended");
    await until(() => agent.controlPlane.words().includes("PAUSED"));
  });

  it("is looked at again when it ended while a look was on its way back", async () => {
    using agent = await started();
    await settle();
    agent.hypervisor.onLook = () => {
      agent.hypervisor.onLook = () => undefined;
      agent.hypervisor.end(UUID, "crashed");
    };
    agent.hypervisor.emit({ type: "lifecycle", uuid: UUID, name: "", event: "defined", detail: 1 });
    await until(() => agent.controlPlane.words().includes("GONE/crashed"));
  });

  it("is not destroyed for a look that is older than the loss of libvirt", async () => {
    using agent = await started();
    const { looks } = agent.hypervisor;
    agent.hypervisor.emit({ type: "disconnected", reason: "gone" });
    await settle();
    agent.assign({ ...agent.controlPlane.record!, metadata: { ...agent.controlPlane.record!.metadata!, resourceVersion: "i.77" } });
    await until(() => agent.hypervisor.looks > looks, "a look");
  });

  it("is not started while the control plane cannot be asked for a claim", async () => {
    using agent = new Agent();
    agent.controlPlane.down = true;
    agent.session(instance());
    await settle(150);
    assert.equal(agent.hypervisor.domains.size, 0);
    agent.controlPlane.down = false;
    await until(() => runs(agent.hypervisor));
  });

  it("is not started after a refused claim, nor asked for again before the record changes", async () => {
    using agent = new Agent();
    agent.controlPlane.refuse = "STALE_EPOCH";
    agent.session(instance());
    await settle();
    agent.controlPlane.refuse = undefined;
    await settle(300);
    assert.deepEqual(agent.controlPlane.claims, []);
    agent.assign(instance({ epoch: 2, version: "i.9" }));
    await until(() => runs(agent.hypervisor));
    assert.deepEqual(agent.controlPlane.claims, [2]);
  });

  it("shuts down as asked and leaves nothing behind", async () => {
    using agent = await started();
    agent.controlPlane.commit({}, { deletionTimestamp: new Date(0), deletionGracePeriodSeconds: 30 });
    await until(() => agent.controlPlane.words().includes("GONE/shutdown"));
    assert.equal(agent.hypervisor.domains.size, 0);
    assert.deepEqual(agent.removed, ["vmi-1"]);
    agent.machines.withdraw("vmi-1");
    await until(() => agent.endings.list().length === 0);
  });

  it("loses its plug when it does not hear within the grace period", async () => {
    using agent = await started();
    agent.hypervisor.onShutdown = () => undefined;
    agent.controlPlane.commit({}, { deletionTimestamp: new Date(0), deletionGracePeriodSeconds: 1 });
    await settle(500);
    assert.ok(runs(agent.hypervisor));
    await until(() => agent.controlPlane.words().includes("GONE/destroyed"));
  });

  it("is destroyed at once with a grace period of zero", async () => {
    using agent = await started();
    agent.controlPlane.commit({}, { deletionTimestamp: new Date(0), deletionGracePeriodSeconds: 0 });
    await until(() => agent.controlPlane.words().includes("GONE/destroyed"));
    assert.ok(!agent.hypervisor.calls.includes("shutdown"));
  });

  it("reports how its guest ended by itself", async () => {
    using agent = await started();
    agent.hypervisor.end(UUID, "crashed");
    await until(() => agent.controlPlane.words().includes("GONE/crashed"));
    assert.equal(agent.hypervisor.domains.size, 0);
  });

  it("keeps how it ended over a kill between undefining and being heard", async () => {
    const endings = memoryEndings();
    const hypervisor = new FakeHypervisor();
    const controlPlane = new FakeControlPlane();
    {
      using agent = await started({ hypervisor, controlPlane, endings });
      controlPlane.down = true;
      agent.hypervisor.end(UUID, "shutdown");
      await until(() => hypervisor.domains.size === 0);
    }
    controlPlane.down = false;
    using agent = new Agent({ hypervisor, controlPlane, endings });
    agent.session(controlPlane.record!);
    await until(() => controlPlane.words().includes("GONE/shutdown"));
  });

  it("says why it could not be started, and only once", async () => {
    using agent = new Agent({ blueprint: () => Promise.reject(new Error("no space")) });
    agent.session(instance());
    await until(() => agent.controlPlane.words().includes("GONE/start-failed"));
    await settle();
    const report = agent.controlPlane.reports.at(-1)?.part;
    assert.equal(report?.$case === "owner" && report.value.message, "no space");
    assert.equal(agent.controlPlane.words().length, 1);
  });

  it("looks again after a start whose outcome is unknown, and does not start twice", async () => {
    using agent = new Agent();
    agent.hypervisor.faults.set("create", new HypervisorError("connection-lost", "gone"));
    agent.session(instance());
    await until(() => agent.controlPlane.words().includes("RUNNING"));
    assert.equal(agent.hypervisor.calls.filter((call) => call === "create").length, 2);
  });

  it("does not take over a domain that somebody else made", async () => {
    using agent = new Agent();
    agent.hypervisor.put({ uuid: UUID, name: "theirs" });
    agent.session(instance());
    await until(() => agent.controlPlane.words().includes("GONE/start-failed"));
    assert.ok(runs(agent.hypervisor));
    assert.deepEqual(agent.machines.foreignDomains(), ["theirs"]);
  });
});

describe("an agent that starts anew", () => {
  it("adopts a running guest and commits nothing", async () => {
    using agent = new Agent({ hypervisor: withGuest() });
    agent.session(running());
    await settle(150);
    assert.deepEqual(agent.controlPlane.reports, []);
    assert.ok(runs(agent.hypervisor));
  });

  it("reports a guest as lost that ran and is not here any more", async () => {
    using agent = new Agent();
    agent.session(running());
    await until(() => agent.controlPlane.words().includes("GONE/lost"));
  });

  it("claims again and starts what had not run yet", async () => {
    using agent = new Agent();
    agent.session(instance({ claimed: otherBoot }));
    await until(() => runs(agent.hypervisor));
    assert.deepEqual(agent.controlPlane.claims, [1]);
  });

  it("starts what was claimed under this boot and defined, but never started", async () => {
    const of = instance({ claimed: true });
    const hypervisor = withGuest(of);
    hypervisor.set(UUID, { state: "shutoff", reason: "unknown" }, "defined");
    hypervisor.domains.get(UUID)!.name = "default_web_vm1";
    using agent = new Agent({ hypervisor });
    agent.session(of);
    await until(() => agent.controlPlane.words().includes("RUNNING"));
    assert.deepEqual(agent.controlPlane.claims, []);
  });

  it("repairs an older epoch in the domain of a machine that it owns", async () => {
    using agent = new Agent({ hypervisor: withGuest(running()) });
    agent.session(running({ epoch: 3 }));
    await until(() => parseInstanceMetadata(agent.hypervisor.domains.get(UUID)?.metadata)?.epoch === 3);
    assert.ok(runs(agent.hypervisor));
  });

  it("touches no domain before it has been told everything, and none without a record", async () => {
    using agent = new Agent({ hypervisor: withGuest() });
    agent.machines.beginSession(false);
    await settle(100);
    assert.equal(agent.controlPlane.lookups, 0);
    agent.machines.synced();
    await until(() => agent.controlPlane.lookups === 1);
    await settle();
    assert.ok(runs(agent.hypervisor));
    assert.deepEqual(agent.machines.foreignDomains(), ["default_web_vm1"]);
  });

  it("removes a domain whose machine was moved on with a higher epoch", async () => {
    using agent = new Agent({ hypervisor: withGuest() });
    agent.controlPlane.lookup = { instance: running({ node: "b", epoch: 2 }) };
    agent.session();
    await until(() => agent.hypervisor.domains.size === 0);
    assert.deepEqual(agent.controlPlane.reports.map(({ part }) => part?.$case), ["event"]);
  });

  it("changes nothing for a store that it does not belong to", async () => {
    using agent = new Agent({ hypervisor: withGuest() });
    agent.controlPlane.lookup = { tombstone: true };
    agent.machines.beginSession(true);
    agent.machines.synced();
    await settle(150);
    assert.ok(runs(agent.hypervisor));
    assert.equal(agent.controlPlane.lookups, 0);
  });
});

describe("the roles of a node", () => {
  it("leaves a domain alone whose assignment is withdrawn, until the record condemns it", async () => {
    using agent = await started();
    agent.controlPlane.lookup = { instance: instance({ claimed: true, version: "i.7" }) };
    agent.machines.withdraw("vmi-1");
    await until(() => agent.controlPlane.lookups > 0);
    await settle();
    assert.ok(runs(agent.hypervisor));
    assert.equal(BOOT.kernelBootId, "boot-1");
  });

  it("does nothing for a role that it does not know", async () => {
    using agent = new Agent();
    agent.machines.beginSession(false);
    agent.assign(instance(), AssignmentRole.UNSPECIFIED);
    await settle(100);
    assert.deepEqual(agent.controlPlane.claims, []);
  });

  it("removes a half of a guest only when no migration is open over it any more", async () => {
    const half = withGuest();
    half.domains.set(UUID, { ...half.domains.get(UUID)!, state: "paused", reason: "postcopy-failed" });
    using agent = new Agent({ hypervisor: half });
    const source = MigrationSourceReport.create({ state: MigrationSourceState.ISSUED, mode: MigrationMode.POST_COPY, agentInstance: "an earlier one", generation: 1 });
    const migration = { ...InstanceMigration.create({ uid: "m-1", sourceNode: "a", targetNode: "b", sourceEpoch: 1, targetEpoch: 2 }), source };
    agent.session(running({ version: "i.7", status: { migration } }));
    await settle(100);
    assert.ok(!half.calls.includes("destroy"));
    agent.assign(running({ version: "i.8" }));
    await until(() => half.calls.includes("destroy"));
  });

  it("says in one line what QEMU says in several, which the API server takes no other way", () => {
    assert.equal(outcomeOf(new HypervisorError("failed", "qemu closed the monitor: a\r\nb\tc")).error, "qemu closed the monitor: a b c");
    assert.equal(outcomeOf(new Error("x".repeat(5_000))).error.length, 1024);
  });

  it("never takes a transfer that an earlier agent began for one that it has not begun itself, having aborted it", async () => {
    using agent = new Agent({ hypervisor: withGuest() });
    agent.hypervisor.job_ = { kind: "migration-out", elapsedMs: 1_000, memoryTotalBytes: 1 };
    const source = MigrationSourceReport.create({ state: MigrationSourceState.ISSUED, agentInstance: "an earlier one", generation: 1 });
    const migration = { ...InstanceMigration.create({ uid: "m-1", sourceNode: "a", targetNode: "b", sourceEpoch: 1, targetEpoch: 2, abortRequested: true }), source };
    const moving = (version: string, said: MigrationSourceReport) =>
      instance({ claimed: true, phase: Phase.RUNNING, reachedRunning: true, version, status: { migration: { ...migration, source: said } } });
    agent.session(moving("i.7", source));
    const words = () => agent.controlPlane.reports.flatMap(({ part }) => (part?.$case === "migrationSource" ? [part.value.report!] : []));
    await until(() => words().length > 0);
    assert.deepEqual(words().map(({ state, abortSent }) => [state, abortSent]), [[MigrationSourceState.ISSUED, true]]);
    // The record now names this process as the one that spoke of ISSUED last, and the job still runs.
    agent.assign(moving("i.8", { ...words()[0]!, agentInstance: words()[0]!.agentInstance, generation: 2 }));
    await settle(100);
    assert.deepEqual(words().map(({ state }) => state), [MigrationSourceState.ISSUED]);
    assert.ok(!agent.hypervisor.calls.includes("migrate"));
  });

  it("keeps the last figures of a job that shows none any more, being aborted", async () => {
    using agent = new Agent({ hypervisor: withGuest() });
    agent.hypervisor.job_ = { kind: "migration-out", elapsedMs: 1_000, memoryTotalBytes: 7 };
    const source = MigrationSourceReport.create({ state: MigrationSourceState.ISSUED, agentInstance: "an earlier one", generation: 1, gaveUp: "too slow" });
    const migration = { ...InstanceMigration.create({ uid: "m-1", sourceNode: "a", targetNode: "b", sourceEpoch: 1, targetEpoch: 2 }), source };
    const moving = (version: string) => instance({ claimed: true, phase: Phase.RUNNING, reachedRunning: true, version, status: { migration } });
    const totals = () => agent.controlPlane.reports.flatMap(({ part }) => (part?.$case === "migrationProgress" ? [part.value.progress!.memoryTotalBytes] : []));
    agent.session(moving("i.7"));
    await until(() => totals().length > 0);
    agent.hypervisor.job_ = { kind: "migration-out", elapsedMs: 0, memoryTotalBytes: 0, memoryRemainingBytes: 0 };
    agent.assign(moving("i.8"));
    await settle(200);
    assert.deepEqual([...new Set(totals())], [7]);
  });

  it("tells the doors which migrations are open, once all records are known, and when one is not any more", async () => {
    using agent = new Agent();
    const migration = InstanceMigration.create({ uid: "m-1", sourceNode: "a", targetNode: "b", sourceEpoch: 1, targetEpoch: 2 });
    agent.session(instance({ claimed: true, phase: Phase.RUNNING, reachedRunning: true, status: { migration } }));
    assert.deepEqual(agent.doors.attended, [{ uid: "m-1", kind: "passage", begun: false }]);
    agent.assign(instance({ claimed: true, phase: Phase.RUNNING, reachedRunning: true, version: "i.8" }));
    assert.deepEqual(agent.doors.attended, []);
    const incoming = { ...migration, sourceNode: "b", targetNode: "a" };
    agent.machines.withdraw("vmi-1");
    agent.assign(instance({ node: "b", claimed: true, phase: Phase.RUNNING, version: "i.9", status: { migration: incoming } }), AssignmentRole.INCOMING);
    assert.deepEqual(agent.doors.attended, [{ uid: "m-1", kind: "door", begun: false }]);
  });

  it("leaves no door open for a migration that was revoked while it was being opened", async () => {
    using agent = new Agent();
    const migration = InstanceMigration.create({ uid: "m-1", sourceNode: "b", targetNode: "a", sourceEpoch: 1, targetEpoch: 2 });
    agent.doors.onOpen = () => agent.machines.withdraw("vmi-1");
    agent.machines.beginSession(false);
    agent.assign(instance({ node: "b", claimed: true, phase: Phase.RUNNING, status: { migration } }), AssignmentRole.INCOMING);
    agent.machines.synced();
    await until(() => agent.doors.opened.length > 0);
    await until(() => agent.doors.closed.includes("m-1"), "the door closed");
  });
});
