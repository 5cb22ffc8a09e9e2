import assert from "node:assert/strict";
import { ConditionStatus } from "../../../../gen/drover/v1/meta.ts";
import { CancelOutcome, MigrationPhase, VirtualMachineInstanceMigration, VirtualMachineInstanceMigrationSpec } from "../../../../gen/drover/v1/migration.ts";
import { NodeSessionState } from "../../../../gen/drover/v1/node.ts";
import { DiskCopy, MigrationSourceReport, MigrationSourceState, MigrationTargetReport, MigrationTargetState, OfferedDisk, Phase } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import type { DeepPartial, InstanceMigration } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { cancelMigration, migrationOf, migrationPreconditions } from "../../../../api-server/subresources/migrate.ts";
import type { Admission } from "../../../../api-server/subresources/migrate.ts";
import { mergeSourceReport, mergeTargetReport } from "../../../../api-server/subresources/migration-report.ts";
import { NO_LOAD } from "../../../../lib/preflight/load.ts";
import { instance, machine, node, NOW, refusalOf } from "./records.ts";

const { UNSPECIFIED, ISSUED, STAYED, LEFT, ENDED } = MigrationSourceState;
const { READY, REFUSED, INCOMING, RUNNING, ABSENT } = MigrationTargetState;

const open = (fields: DeepPartial<InstanceMigration> = {}) =>
  ({ uid: "m", name: "web-1", sourceNode: "a", targetNode: "b", sourceEpoch: 3, targetEpoch: 4, target: { state: READY }, ...fields });
const moving = (fields: DeepPartial<InstanceMigration> = {}, deleting = false) => instance({ status: { migration: open(fields) }, deleting });

describe("the source's report", () => {
  const reporter = { nodeName: "a", agentInstance: "agent-a", vmiUid: "vmi-1", epoch: 3, now: NOW, migrationUid: "m" };
  const cases: [string, ReturnType<typeof instance>, MigrationSourceState, object, string][] = [
    ["begins", moving(), ISSUED, {}, "changed"],
    ["begins after an abort", moving({ abortRequested: true }), ISSUED, {}, "ABORT_REQUESTED"],
    ["begins though it is being deleted", moving({}, true), ISSUED, {}, "ABORT_REQUESTED"],
    ["begins before the target is ready", moving({ target: { state: UNSPECIFIED } }), ISSUED, {}, "TARGET_NOT_READY"],
    ["begins though the target refused", moving({ target: { state: REFUSED } }), ISSUED, {}, "TARGET_NOT_READY"],
    ["begins a migration that was ended", instance(), ISSUED, {}, "NO_MIGRATION"],
    ["begins another migration", moving({ uid: "m2" }), ISSUED, {}, "NO_MIGRATION"],
    ["another node speaks", moving(), ISSUED, { nodeName: "b" }, "NOT_OWNER"],
    ["an older epoch", moving(), ISSUED, { epoch: 2 }, "STALE_EPOCH"],
    ["begins what it does not own", instance({ status: { nodeName: "c", migration: open() } }), ISSUED, {}, "NOT_OWNER"],
    ["begins what does not run", instance({ status: { phase: Phase.FAILED, migration: open() } }), ISSUED, {}, "NOT_RUNNING"],
    ["repeats that it began", moving({ source: { state: ISSUED } }), ISSUED, {}, "unchanged"],
    ["stayed", moving({ source: { state: ISSUED } }), STAYED, {}, "changed"],
    ["left, after the handoff", moving({ handedOff: true, source: { state: ISSUED } }), LEFT, {}, "changed"],
    ["a late word that it began", moving({ source: { state: STAYED } }), ISSUED, {}, "unchanged"],
    ["the guest ended after it stayed", moving({ source: { state: STAYED } }), ENDED, {}, "changed"],
    ["an empty word", moving({ source: { state: ISSUED } }), UNSPECIFIED, {}, "unchanged"],
  ];
  for (const [name, vmi, state, fields, expected] of cases) {
    it(`${name}: ${expected}`, () =>
      assert.equal(refusalOf(() => mergeSourceReport(vmi, MigrationSourceReport.create({ state }), { ...reporter, ...fields })), expected));
  }

  describe("of disks that are to be copied", () => {
    const copiedDisks = [{ volume: "root", sourceVolume: "of-a.root", targetVolume: "of-b.root" }];
    const disks = [OfferedDisk.create({ volume: "root", virtualSizeBytes: 1, baseDigest: "../../etc" }), OfferedDisk.create({ volume: "other" })];
    const offer = (state: MigrationSourceState, fields: DeepPartial<InstanceMigration> = {}) =>
      mergeSourceReport(moving({ copiedDisks, ...fields }), MigrationSourceReport.create({ state, disks }), reporter)?.status!.migration!.source;

    it("is taken before anything has begun, of no others, and begins nothing", () => {
      const taken = offer(UNSPECIFIED);
      assert.deepEqual(taken?.disks, [OfferedDisk.create({ volume: "root", virtualSizeBytes: 1 })]);
      assert.equal(taken.state, UNSPECIFIED);
    });

    it("stays when the source says more, and does not change after it has begun", () => {
      const source = { disks: [{ volume: "root", virtualSizeBytes: 2 }] };
      const issued = mergeSourceReport(moving({ copiedDisks, source, target: { state: READY, diskCopy: DiskCopy.OVERLAYS } }), MigrationSourceReport.create({ state: ISSUED }), reporter);
      assert.deepEqual(issued?.status!.migration!.source!.disks, [OfferedDisk.create(source.disks[0]!)]);
      assert.deepEqual(offer(LEFT, { source: { ...source, state: ISSUED } })?.disks, [OfferedDisk.create(source.disks[0]!)]);
    });

    it("is no word at all without disks", () => assert.equal(mergeSourceReport(moving(), MigrationSourceReport.create(), reporter), undefined));

    it("must be answered before it may begin", () => {
      assert.equal(refusalOf(() => mergeSourceReport(moving({ copiedDisks }), MigrationSourceReport.create({ state: ISSUED }), reporter)), "TARGET_NOT_READY");
    });
  });

  it("counts generations over agent processes", () => {
    const merged = mergeSourceReport(moving({ source: { state: ISSUED, generation: 7 } }), MigrationSourceReport.create({ state: LEFT, generation: 1 }), reporter);
    assert.equal(merged!.status!.migration!.source!.generation, 8);
  });
});

describe("the target's report", () => {
  const reporter = { nodeName: "b", agentInstance: "agent-b", vmiUid: "vmi-1", epoch: 4, now: NOW, migrationUid: "m" };
  const cases: [string, MigrationTargetState, MigrationTargetState, string][] = [
    ["is ready", UNSPECIFIED, READY, "changed"],
    ["cannot", UNSPECIFIED, REFUSED, "changed"],
    ["a guest arrives", READY, INCOMING, "changed"],
    ["runs", INCOMING, RUNNING, "changed"],
    ["arrived late", ABSENT, RUNNING, "changed"],
    ["is absent after it ran", RUNNING, ABSENT, "unchanged"],
    ["a late word that it is ready", INCOMING, READY, "unchanged"],
    ["is ready after it looked and found nothing", ABSENT, READY, "unchanged"],
  ];
  for (const [name, before, state, expected] of cases) {
    it(`${name}: ${expected}`, () =>
      assert.equal(refusalOf(() => mergeTargetReport(moving({ target: { state: before } }), MigrationTargetReport.create({ state }), reporter)), expected));
  }

  it("cannot have seen more of the source than there is", () => {
    const vmi = moving({ source: { state: STAYED, generation: 2 } });
    const merged = mergeTargetReport(vmi, MigrationTargetReport.create({ state: ABSENT, peerGeneration: 9 }), reporter);
    assert.equal(merged!.status!.migration!.target!.peerGeneration, 2);
  });

  it("looks again when the source said more", () => {
    const vmi = moving({ source: { state: ENDED, generation: 2 }, target: { state: ABSENT, peerGeneration: 1 } });
    assert.equal(refusalOf(() => mergeTargetReport(vmi, MigrationTargetReport.create({ state: ABSENT, peerGeneration: 2 }), reporter)), "changed");
  });
});

describe("admission of a migration", () => {
  const spec = (targetNode = "b", addedNodeSelector = {}) => VirtualMachineInstanceMigrationSpec.create({ vmiName: "web", targetNode, addedNodeSelector });
  const admission: Admission = { spec: spec(), vm: machine(), instance: instance(), open: [], sourceNode: node("a"), targetNode: node("b"), targetLoad: NO_LOAD };
  const condition = (type: string, status: ConditionStatus) => ({ conditions: [{ type, status, message: "why" }] });
  const cases: [string, Partial<Admission>, string[]][] = [
    ["a running machine", {}, []],
    ["no named target", { spec: spec(""), targetNode: undefined }, []],
    ["not running", { instance: instance({ status: { phase: Phase.SCHEDULED } }) }, ["NOT_RUNNING"]],
    ["paused", { instance: instance({ status: condition("Paused", ConditionStatus.TRUE) }) }, ["PAUSED"]],
    ["no longer paused", { instance: instance({ status: condition("Paused", ConditionStatus.FALSE) }) }, []],
    ["moving", { instance: moving() }, ["ALREADY_MIGRATING"]],
    ["asked to move already", { open: [VirtualMachineInstanceMigration.create({ metadata: { name: "web-0" } })] }, ["ALREADY_MIGRATING"]],
    ["being stopped", { instance: instance({ deleting: true }) }, ["DELETING"]],
    ["tied to its host", { instance: instance({ status: condition("LiveMigratable", ConditionStatus.FALSE) }) }, ["NOT_MIGRATABLE"]],
    ["its node is silent", { sourceNode: node("a", { state: NodeSessionState.SILENT }) }, ["SOURCE_NOT_CONNECTED"]],
    ["to where it is", { spec: spec("a") }, ["TARGET_IS_SOURCE"]],
    ["to nowhere", { targetNode: undefined }, ["TARGET_NOT_FOUND"]],
    ["to a cordoned node", { targetNode: node("b", { spec: { unschedulable: true } }) }, ["TARGET_CORDONED"]],
    ["to a silent node", { targetNode: node("b", { state: NodeSessionState.SILENT }) }, ["TARGET_NOT_CONNECTED"]],
    ["to a node of another kind", { targetNode: node("b", { report: { cpuModels: [] } }) }, ["TARGET_INCOMPATIBLE"]],
    ["to a node without the asked label", { spec: spec("b", { rack: "1" }) }, ["TARGET_INCOMPATIBLE"]],
    ["to a node that others have filled", { targetLoad: { ...NO_LOAD, memoryBytes: 8 * 1024 ** 3 } }, ["TARGET_FULL"]],
    ["to a node that is busy receiving", { targetLoad: { ...NO_LOAD, inbound: 9 } }, []],
    ["all at once", {
      instance: instance({ status: { phase: Phase.SCHEDULED, migration: open() }, deleting: true }), targetNode: node("b", { spec: { unschedulable: true }, report: { machineTypes: [] } }),
    }, ["NOT_RUNNING", "DELETING", "ALREADY_MIGRATING", "TARGET_CORDONED", "TARGET_INCOMPATIBLE"]],
  ];
  for (const [name, fields, expected] of cases) {
    it(`${name}: ${expected.join(", ") || "admitted"}`, () =>
      assert.deepEqual(migrationPreconditions({ ...admission, ...fields }).map(({ type }) => type), expected));
  }

  it("makes a name that a label can hold", () => {
    const vm = machine();
    vm.metadata!.name = `${"x".repeat(53)}-${"y".repeat(9)}`;
    const { name } = migrationOf(vm, spec(), "abcd1234").metadata!;
    assert.equal(name, `${"x".repeat(53)}-abcd1234`);
  });
});

describe("cancelling a migration", () => {
  const migration = (phase: MigrationPhase, fields = {}) =>
    VirtualMachineInstanceMigration.create({ metadata: { name: "web-1", namespace: "default", uid: "m" }, status: { phase, ...fields } });
  const outcome = (phase: MigrationPhase, vmi?: ReturnType<typeof instance>) => cancelMigration(migration(phase), vmi)!.status!.cancelOutcome;

  it("asks while the machine may stay", () => {
    for (const phase of [MigrationPhase.PENDING, MigrationPhase.PREPARING_TARGET, MigrationPhase.RUNNING]) assert.equal(outcome(phase, moving()), CancelOutcome.REQUESTED);
  });
  it("is too late once the machine is handed over, also before the story says so", () => {
    assert.equal(outcome(MigrationPhase.FINALIZING), CancelOutcome.TOO_LATE);
    assert.equal(outcome(MigrationPhase.RUNNING, moving({ handedOff: true })), CancelOutcome.TOO_LATE);
  });
  it("repeats without a change", () => {
    const asked = migration(MigrationPhase.RUNNING, { cancelRequested: true, cancelOutcome: CancelOutcome.REQUESTED });
    assert.equal(cancelMigration(asked, moving()), undefined);
  });
  it("is refused after the end", () => assert.equal(refusalOf(() => cancelMigration(migration(MigrationPhase.SUCCEEDED), undefined)), "ENDED"));
});
