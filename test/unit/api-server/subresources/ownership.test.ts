import assert from "node:assert/strict";
import { PoolDisk } from "../../../../gen/drover/v1/machine.ts";
import { ConditionStatus } from "../../../../gen/drover/v1/meta.ts";
import { NodeSessionState } from "../../../../gen/drover/v1/node.ts";
import { DomainState, MigrationSourceState, OwnerReport, Phase, ReleaseReason } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { Volume, VolumeState } from "../../../../gen/drover/v1/volume.ts";
import { claim } from "../../../../api-server/subresources/claim.ts";
import { mergeOwnerReport } from "../../../../api-server/subresources/owner-report.ts";
import { release } from "../../../../api-server/subresources/release.ts";
import { BOOT, instance, machine, node, NOW, refusalOf } from "./records.ts";

const OTHER_BOOT = { kernelBootId: "boot-2", pid1StartTime: "1" };
const bound = { phase: Phase.SCHEDULED, claim: undefined, ownerReport: undefined, reachedRunning: false };
const claiming = { nodeName: "a", vmiUid: "vmi-1", epoch: 3, boot: BOOT, agentInstance: "agent-a", volumes: [] };
const held = (vmiUid: string, state = VolumeState.UNSPECIFIED as VolumeState) => Volume.create({ metadata: { name: "v" }, status: { holder: { vmiUid }, state } });

describe("claim", () => {
  const cases: [string, VirtualMachineInstance, Partial<typeof claiming> | { volumes: (Volume | undefined)[] }, string][] = [
    ["bound to the caller", instance({ status: bound }), {}, "changed"],
    ["its claim stands", instance(), {}, "unchanged"],
    ["its claim stands, another agent process of the same boot", instance(), { agentInstance: "agent-a2" }, "unchanged"],
    ["another node asks", instance({ status: bound }), { nodeName: "b" }, "NOT_OWNER"],
    ["another instance has the name", instance({ status: bound }), { vmiUid: "vmi-0" }, "NOT_OWNER"],
    ["an older epoch", instance({ status: bound }), { epoch: 2 }, "STALE_EPOCH"],
    ["an epoch that nobody granted", instance({ status: bound }), { epoch: 4 }, "NOT_BOUND"],
    ["being deleted", instance({ status: bound, deleting: true }), {}, "DELETING"],
    ["it has ended", instance({ status: { phase: Phase.FAILED } }), {}, "NOT_BOUND"],
    ["still pending", instance({ status: { ...bound, phase: Phase.PENDING } }), {}, "NOT_BOUND"],
    ["it ran under another boot", instance(), { boot: OTHER_BOOT }, "CLAIMED_BY_OTHER_BOOT"],
    ["claimed under another boot, never ran", instance({ status: { phase: Phase.SCHEDULED, reachedRunning: false } }), { boot: OTHER_BOOT }, "changed"],
    ["its volume is another's", instance({ status: { ...bound, heldVolumes: ["v"] } }), { volumes: [held("vmi-2")] }, "VOLUME_NOT_HELD"],
    ["its volume is gone", instance({ status: { ...bound, heldVolumes: ["v"] } }), { volumes: [undefined] }, "VOLUME_NOT_HELD"],
    ["its volume's bytes have left", instance({ status: { ...bound, heldVolumes: ["v"] } }), { volumes: [held("vmi-1", VolumeState.VACATED)] }, "VOLUME_NOT_HELD"],
    ["its volume's bytes are on their way", instance({ status: { ...bound, heldVolumes: ["v"] } }), { volumes: [held("vmi-1", VolumeState.INCOMING)] }, "VOLUME_NOT_HELD"],
    ["its volume is held", instance({ status: { ...bound, heldVolumes: ["v"] } }), { volumes: [held("vmi-1")] }, "changed"],
  ];
  for (const [name, vmi, fields, expected] of cases) {
    it(`${name}: ${expected}`, () => assert.equal(refusalOf(() => claim(vmi, { ...claiming, ...fields })), expected));
  }

  it("needs a volume for every image that the guest writes to", () => {
    const vmi = instance({ status: bound });
    const volumes = [{ name: "root", source: { $case: "disk" as const, value: PoolDisk.create({ pool: "p", image: "i" }) } }];
    assert.equal(refusalOf(() => claim({ ...vmi, spec: { ...vmi.spec!, volumes } }, claiming)), "VOLUME_NOT_HELD");
  });
});

const reporter = { nodeName: "a", agentInstance: "agent-a", vmiUid: "vmi-1", epoch: 3, now: NOW };
const says = (state: DomainState, fields: Partial<OwnerReport> = {}) => OwnerReport.create({ state, generation: 6, ...fields });
const issued = { uid: "m", sourceNode: "a", targetNode: "b", sourceEpoch: 3, targetEpoch: 4, source: { state: MigrationSourceState.ISSUED } };

describe("the owner's report", () => {
  const phases: [string, VirtualMachineInstance, OwnerReport, Phase][] = [
    ["preparing", instance({ status: { phase: Phase.SCHEDULED } }), says(DomainState.PREPARING), Phase.SCHEDULED],
    ["running", instance({ status: { phase: Phase.SCHEDULED } }), says(DomainState.RUNNING), Phase.RUNNING],
    ["paused", instance(), says(DomainState.PAUSED), Phase.RUNNING],
    ["shutting down", instance(), says(DomainState.SHUTTING_DOWN), Phase.RUNNING],
    ["shut itself down", instance(), says(DomainState.GONE, { reason: "shutdown" }), Phase.SUCCEEDED],
    ["gone as asked", instance({ deleting: true }), says(DomainState.GONE, { reason: "destroyed" }), Phase.SUCCEEDED],
    ["destroyed by somebody else", instance(), says(DomainState.GONE, { reason: "destroyed" }), Phase.FAILED],
    ["crashed", instance(), says(DomainState.CRASHED, { reason: "crashed" }), Phase.FAILED],
    ["could not start", instance({ status: { phase: Phase.SCHEDULED } }), says(DomainState.START_FAILED), Phase.FAILED],
    ["runs, said after its end", instance({ status: { phase: Phase.FAILED } }), says(DomainState.RUNNING), Phase.FAILED],
    ["a state of a newer agent", instance(), says(99 as DomainState), Phase.RUNNING],
  ];
  for (const [name, vmi, report, phase] of phases) {
    it(`${name}: phase ${phase}`, () => assert.equal(mergeOwnerReport(vmi, report, reporter)!.status!.phase, phase));
  }

  const answers: [string, VirtualMachineInstance, OwnerReport, Partial<typeof reporter>, string][] = [
    ["another node", instance(), says(DomainState.GONE), { nodeName: "b" }, "NOT_OWNER"],
    ["an older epoch", instance(), says(DomainState.GONE), { epoch: 2 }, "STALE_EPOCH"],
    ["not claimed", instance({ status: { claim: undefined } }), says(DomainState.RUNNING), {}, "NOT_OWNER"],
    ["an older report of the same agent", instance(), says(DomainState.GONE, { generation: 5 }), {}, "unchanged"],
    ["the first report of a new agent process", instance(), says(DomainState.GONE, { generation: 1 }), { agentInstance: "agent-a2" }, "changed"],
    ["after its last word", instance({ status: { ownerReport: { state: DomainState.GONE, epoch: 3 } } }), says(DomainState.RUNNING), {}, "unchanged"],
    ["an end while its transfer is issued", instance({ status: { migration: issued } }), says(DomainState.GONE, { reason: "lost" }), {}, "MIGRATION_OPEN"],
    ["a pause while its transfer is issued", instance({ status: { migration: issued } }), says(DomainState.PAUSED), {}, "changed"],
  ];
  for (const [name, vmi, report, fields, expected] of answers) {
    it(`${name}: ${expected}`, () => assert.equal(refusalOf(() => mergeOwnerReport(vmi, report, { ...reporter, ...fields })), expected));
  }

  it("remembers the first Running and nothing that the agent claims to be", () => {
    const first = mergeOwnerReport(instance({ status: { phase: Phase.SCHEDULED, reachedRunning: false } }), says(DomainState.RUNNING, { nodeName: "z", epoch: 99 }), reporter)!;
    assert.deepEqual([first.status!.reachedRunning, first.status!.runningSince], [true, NOW]);
    assert.deepEqual([first.status!.ownerReport!.nodeName, first.status!.ownerReport!.epoch], ["a", 3]);
    const later = mergeOwnerReport(first, says(DomainState.PAUSED, { generation: 7 }), { ...reporter, now: new Date(0) })!;
    assert.equal(later.status!.runningSince, NOW);
  });

  it("keeps the Paused condition true to the report", () => {
    const paused = mergeOwnerReport(instance(), says(DomainState.PAUSED, { pausedReason: "io-error" }), reporter)!;
    assert.deepEqual(paused.status!.conditions.map(({ type, status, reason }) => [type, status, reason]), [["Paused", ConditionStatus.TRUE, "PausedByIOError"]]);
    const back = mergeOwnerReport(paused, says(DomainState.RUNNING, { generation: 7 }), reporter)!;
    assert.equal(back.status!.conditions[0]!.status, ConditionStatus.FALSE);
  });

  it("bounds and strips what the host wrote", () => {
    const message = `\u001b[31m${"x".repeat(5000)}`;
    const merged = mergeOwnerReport(instance(), says(DomainState.PAUSED, { message }), reporter)!.status!.ownerReport!.message;
    assert.equal(merged.length, 1024);
    assert.ok(!merged.includes("\u001b"));
  });
});

describe("release", () => {
  const gone = { ownerReport: { state: DomainState.GONE, nodeName: "a", epoch: 3 } };
  const known = machine({ status: { lastEpoch: 3, lastRun: { uid: "vmi-1" } } });
  const fenced = node("a", { state: NodeSessionState.SILENT });
  fenced.status!.fence = { id: "f", reason: "off", subject: "local", time: NOW, boot: BOOT };
  const { GONE, FENCED, UNCLAIMED } = ReleaseReason;
  const cases: [string, VirtualMachineInstance, Partial<Parameters<typeof release>[1]>, string][] = [
    ["gone, written down", instance({ deleting: true, status: gone }), { vm: known }, "changed"],
    ["gone, no machine", instance({ deleting: true, status: gone }), {}, "changed"],
    ["gone before a burned epoch", instance({ deleting: true, status: { ...gone, epoch: 5 } }), {}, "changed"],
    ["not being deleted", instance({ status: gone }), {}, "NOT_DELETING"],
    ["the owner has not said so", instance({ deleting: true }), {}, "NOT_GONE"],
    ["another node said so", instance({ deleting: true, status: { ownerReport: { ...gone.ownerReport, nodeName: "b" } } }), {}, "NOT_GONE"],
    ["its machine does not know how it ended", instance({ deleting: true, status: gone }), { vm: machine({ status: { lastEpoch: 3 } }) }, "NOT_WRITTEN_DOWN"],
    ["its machine does not know its epoch", instance({ deleting: true, status: gone }), { vm: machine({ status: { lastEpoch: 2, lastRun: { uid: "vmi-1" } } }) }, "NOT_WRITTEN_DOWN"],
    ["its migration is open", instance({ deleting: true, status: { ...gone, migration: issued } }), { vm: known }, "MIGRATION_OPEN"],
    ["fenced", instance({ deleting: true }), { reason: FENCED, node: fenced, vm: known }, "changed"],
    ["only silent", instance({ deleting: true }), { reason: FENCED, node: node("a", { state: NodeSessionState.SILENT }), vm: known }, "NOT_FENCED"],
    ["fenced, the epoch not written down", instance({ deleting: true }), { reason: FENCED, node: fenced, vm: machine() }, "NOT_WRITTEN_DOWN"],
    ["never claimed", instance({ deleting: true, status: bound }), { reason: UNCLAIMED }, "changed"],
    ["claimed", instance({ deleting: true }), { reason: UNCLAIMED }, "CLAIMED"],
    ["another uid", instance({ deleting: true, status: gone }), { uid: "vmi-0" }, "STALE_UID"],
  ];
  for (const [name, vmi, fields, expected] of cases) {
    const releasing = { uid: "vmi-1", reason: GONE as ReleaseReason, vm: undefined, node: undefined, ...fields };
    it(`${name}: ${expected}`, () => assert.equal(refusalOf(() => release(vmi, releasing)), expected));
  }

  it("takes its own finalizer and no other", () => {
    const vmi = instance({ deleting: true, status: gone });
    vmi.metadata!.finalizers.push("else");
    assert.deepEqual(release(vmi, { uid: "vmi-1", reason: GONE, vm: undefined, node: undefined })!.metadata!.finalizers, ["else"]);
  });
});
