/** The plan of a drain: what is done with each machine, and what no plan ever does. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { EvictionStrategy } from "../../../../gen/drover/v1/machine.ts";
import { ConditionStatus, ObjectMeta } from "../../../../gen/drover/v1/meta.ts";
import { DrainAction, DrainReason, NodeSessionState } from "../../../../gen/drover/v1/node.ts";
import { RunStrategy } from "../../../../gen/drover/v1/virtual_machine.ts";
import { InstanceMigration, Phase, VirtualMachineInstance, VirtualMachineInstanceStatus } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { capacityOf, demandOf } from "../../../../lib/capacity.ts";
import { planDrain, together } from "../../../../lib/drain/plan.ts";
import type { Around, OpenMigration } from "../../../../lib/drain/plan.ts";
import { takeSnapshot } from "../../../../lib/preflight/candidate.ts";
import { loadsOf } from "../../../../lib/preflight/load.ts";
import { aNode, aSpec } from "../../controller/world.ts";

const { NONE, LIVE_MIGRATE, LIVE_MIGRATE_IF_POSSIBLE, EXTERNAL } = EvictionStrategy;
type Given = { strategy?: EvictionStrategy; guest?: string; status?: Partial<VirtualMachineInstanceStatus>; ending?: boolean; name?: string };

function run({ strategy = LIVE_MIGRATE, guest = "512Mi", status = {}, ending = false, name = "web" }: Given = {}): VirtualMachineInstance {
  return VirtualMachineInstance.create({
    metadata: ObjectMeta.create({ namespace: "default", name, uid: `uid-${name}`, ...(ending && { deletionTimestamp: new Date(0) }) }),
    spec: { ...aSpec({ guest, disks: [] }), evictionStrategy: strategy },
    status: VirtualMachineInstanceStatus.create({ nodeName: "a", phase: Phase.RUNNING, ...status }),
  });
}

const condition = (type: string, status: ConditionStatus) => ({ conditions: [{ type, status, reason: "Why", message: "because", lastTransitionTime: undefined, observedGeneration: 0 }] });

function plan(runs: VirtualMachineInstance[], { nodes = ["a", "b"], open, ...around }: Partial<Around> & { nodes?: string[]; open?: () => OpenMigration | undefined } = {}) {
  const fleet = nodes.map((name) => aNode(name));
  return planDrain(runs, takeSnapshot(fleet, { loadOn: loadsOf(runs) }), {
    node: fleet[0]!, open: open ?? (() => undefined), runStrategy: () => RunStrategy.ALWAYS, stopAllowed: () => false, ...around,
  });
}

const { MIGRATE, STOP, BLOCKED, WAIT_EXTERNAL, STAY } = DrainAction;
const allowed = () => true;
const silent = { ...aNode("a"), status: { ...aNode("a").status, session: { ...aNode("a").status.session!, state: NodeSessionState.SILENT } } };
const paused = condition("Paused", ConditionStatus.TRUE);
const fixed = condition("LiveMigratable", ConditionStatus.FALSE);
const alone = { nodes: ["a"] };
const moving = (own: boolean) => ({ open: () => ({ name: "m", targetNode: "c", own }) });

const cases: [string, Given, Parameters<typeof plan>[1], DrainAction, DrainReason, RegExp][] = [
  ["moves what moves live", {}, {}, MIGRATE, DrainReason.UNSPECIFIED, /^$/],
  ["moves what is still starting when that runs", { status: { phase: Phase.SCHEDULED } }, {}, MIGRATE, DrainReason.NOT_RUNNING, /when it runs/],
  ["is held up by None", { strategy: NONE }, {}, BLOCKED, DrainReason.STRATEGY_NONE, /None/],
  ["takes no strategy for None", { strategy: EvictionStrategy.UNSPECIFIED }, {}, BLOCKED, DrainReason.STRATEGY_NONE, /None/],
  ["stops None with leave", { strategy: NONE }, { stopAllowed: allowed }, STOP, DrainReason.STOP_ALLOWED, /the operator allowed to stop it; it starts again on another node/],
  ["says what stays off after", { strategy: NONE }, { stopAllowed: allowed, runStrategy: () => RunStrategy.MANUAL }, STOP, DrainReason.STOP_ALLOWED, /stays off until it is started/],
  ["says what nothing starts again", { strategy: NONE }, { stopAllowed: allowed, runStrategy: () => undefined }, STOP, DrainReason.STOP_ALLOWED, /nothing starts it again/],
  ["is held up by what has nowhere to go", {}, alone, BLOCKED, DrainReason.NO_TARGET, /0\/1 nodes fit/],
  ["is held up by what cannot move", { status: fixed }, {}, BLOCKED, DrainReason.NOT_MIGRATABLE, /because/],
  ["moves if possible", { strategy: LIVE_MIGRATE_IF_POSSIBLE }, { stopAllowed: allowed }, MIGRATE, DrainReason.UNSPECIFIED, /^$/],
  ["stops what cannot move, as its owner chose", { strategy: LIVE_MIGRATE_IF_POSSIBLE, status: fixed }, {}, STOP, DrainReason.NOT_MIGRATABLE, /because; it starts again/],
  ["stops what has nowhere to go, as its owner chose", { strategy: LIVE_MIGRATE_IF_POSSIBLE }, alone, STOP, DrainReason.NO_TARGET, /nodes fit/],
  ["does not stop what nobody sees planned", { strategy: LIVE_MIGRATE_IF_POSSIBLE }, { ...alone, unseen: true }, BLOCKED, DrainReason.NO_TARGET, /nodes fit/],
  ["does not stop what is only paused", { strategy: LIVE_MIGRATE_IF_POSSIBLE, status: paused }, {}, BLOCKED, DrainReason.PAUSED, /because/],
  ["stops what is paused with leave", { status: paused }, { stopAllowed: allowed }, STOP, DrainReason.STOP_ALLOWED, /paused/],
  ["waits for what is outside", { strategy: EXTERNAL }, { stopAllowed: allowed }, WAIT_EXTERNAL, DrainReason.EXTERNAL, /outside/],
  ["does nothing on a silent node", { strategy: LIVE_MIGRATE_IF_POSSIBLE }, { node: silent, stopAllowed: allowed }, BLOCKED, DrainReason.NODE_SILENT, /does not answer/],
  ["lets go what is ending", { ending: true, strategy: NONE }, { stopAllowed: allowed }, STAY, DrainReason.ENDING, /being stopped/],
  ["lets go what another migration moves", { strategy: NONE }, moving(false), STAY, DrainReason.MIGRATING, /migration m moves it to c/],
  ["goes on with its own migration", {}, moving(true), MIGRATE, DrainReason.UNSPECIFIED, /m moves it to c/],
  ["waits for what arrives", { status: { nodeName: "b", migration: InstanceMigration.create({ sourceNode: "b", targetNode: "a" }) } }, {}, STAY, DrainReason.ARRIVING, /has come/],
];

describe("the plan of a drain", () => {
  for (const [name, given, around, action, reason, message] of cases) {
    it(name, () => {
      const [item] = plan([run(given)], around).items;
      assert.deepEqual([item!.action, item!.reason], [action, reason]);
      assert.match(item!.message, message);
      assert.equal(item!.targetNode !== "", action === MIGRATE);
    });
  }

  it("keeps a target that will do, and takes the best where it does not", () => {
    const target = (preferred: string) => plan([run()], { nodes: ["a", "b", "c"], preferred: () => preferred }).items[0]!.targetNode;
    assert.deepEqual([target("c"), target("b"), target("gone")], ["c", "b", "b"]);
  });

  const machines = fc.array(
    fc.record({ strategy: fc.constantFrom(NONE, LIVE_MIGRATE, LIVE_MIGRATE_IF_POSSIBLE, EXTERNAL), guest: fc.constantFrom("256Mi", "1Gi", "3Gi"), fixed: fc.boolean(), allowed: fc.boolean() }),
    { maxLength: 20 },
  ).map((all) => all.map((one, index) => ({ ...one, name: `m${index}` })));

  it("stops nobody without leave, takes no room twice, and forgets nobody", () => {
    fc.assert(fc.property(machines, (all) => {
      const runs = all.map(({ fixed: isFixed, ...one }) => run({ ...one, ...(isFixed && { status: fixed }) }));
      const { items } = plan(runs, { nodes: ["a", "b", "c"], stopAllowed: ({ metadata }) => all.find(({ name }) => name === metadata!.name)!.allowed });
      assert.deepEqual(items.map(({ name }) => name).toSorted(), all.map(({ name }) => name).toSorted());
      for (const { name, action } of items) {
        const one = all.find((given) => given.name === name)!;
        if (action === STOP) assert.ok(one.allowed || one.strategy === LIVE_MIGRATE_IF_POSSIBLE, name);
        if (action === MIGRATE) assert.ok(!one.fixed && (one.strategy === LIVE_MIGRATE || one.strategy === LIVE_MIGRATE_IF_POSSIBLE), name);
      }
      for (const node of ["b", "c"]) {
        const came = items.filter(({ targetNode }) => targetNode === node).map(({ name }) => demandOf(runs.find(({ metadata }) => metadata!.name === name)!.spec).memoryBytes);
        assert.ok(came.reduce((sum, bytes) => sum + bytes, 0) <= capacityOf(aNode(node)).memoryBytes);
      }
    }), { numRuns: 200 });
  });

  it("takes as long as its moves do, two at once", () => {
    assert.equal(together([], 2), 0);
    assert.equal(together([30, 10, 10, 10], 2), 30);
    assert.equal(together([10, 10, 30], 2), 40);
  });

  it("has one id for one plan, in whatever order the machines come, and another for another", () => {
    const runs = ["one", "two", "three"].map((name) => run({ name }));
    const { id } = plan(runs);
    assert.equal(plan(runs.toReversed()).id, id);
    assert.notEqual(plan(runs.slice(1)).id, id);
    assert.notEqual(plan(runs, { nodes: ["a", "c"] }).id, id);
    assert.notEqual(plan([run({ name: "one", strategy: NONE }), ...runs.slice(1)]).id, id);
  });
});
