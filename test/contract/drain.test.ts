/** PlanDrain, DrainNode and UncordonNode over the real listener: what they record, what they refuse, and who may. */
import assert from "node:assert/strict";
import { EvictionStrategy } from "../../gen/drover/v1/machine.ts";
import { MigrationPriority, VirtualMachineInstanceMigration } from "../../gen/drover/v1/migration.ts";
import { DrainAction } from "../../gen/drover/v1/node.ts";
import { Phase, VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { waitFor } from "../lab/process.ts";
import { aNode, aSpec } from "../unit/controller/world.ts";
import { refusal } from "./api-process.ts";
import { binding, ONCE, role, startAuthServer, user } from "./auth-server.ts";
import type { AuthServer } from "./auth-server.ts";

const { NONE, LIVE_MIGRATE } = EvictionStrategy;
const ANY = { allowStop: [] as string[], allowStopAll: false };

describe("draining a node, by the API", function () {
  this.timeout(30_000);
  let server: AuthServer;

  async function run(name: string, evictionStrategy: EvictionStrategy): Promise<void> {
    const virtualMachineInstance = VirtualMachineInstance.create({
      metadata: { name, namespace: "default", finalizers: ["drover.dev/domain"] },
      spec: { ...aSpec({ disks: [] }), evictionStrategy },
      status: { phase: Phase.RUNNING, nodeName: "a", epoch: 1, lastGrantedEpoch: 1 },
    });
    await server.admin.instances.createVirtualMachineInstance({ ...ONCE, virtualMachineInstance });
  }

  const plan = async (asked: Partial<typeof ANY> = {}) => (await server.admin.nodes.planDrain({ name: "a", ...ANY, ...asked })).plan!;
  const drain = async (asked: Partial<typeof ANY> & { planId?: string; requestId?: string; validateOnly?: boolean } = {}) =>
    (await server.admin.nodes.drainNode({ name: "a", planId: "", ...ANY, ...ONCE, ...asked })).node!;
  const node = async () => (await server.admin.nodes.getNode({ name: "a" })).node!;

  /** The server plans from memory, which the store's watch fills. */
  const known = (count: number) => waitFor(`${count} machines to be known`, async () => (await plan()).items.length === count || undefined);

  before(async () => {
    server = await startAuthServer();
    for (const name of ["a", "b"]) await server.admin.nodes.createNode({ ...ONCE, node: aNode(name) });
    await run("live", LIVE_MIGRATE);
    await run("kept", NONE);
    await known(2);
  });
  after(() => server?.[Symbol.asyncDispose]());

  it("says what it would do, with what that takes, and changes nothing", async () => {
    const before = await node();
    const { items, durationMs, id } = await plan();
    assert.deepEqual(items.map(({ name, action, targetNode }) => [name, action, targetNode]), [["live", DrainAction.MIGRATE, "b"], ["kept", DrainAction.BLOCKED, ""]]);
    assert.ok(items[0]!.forecast!.durationMs > 0 && durationMs === items[0]!.forecast!.durationMs);
    assert.equal((await plan()).id, id);
    assert.notEqual((await plan({ allowStop: ["kept"] })).id, id);
    assert.deepEqual((await plan({ allowStop: ["default/kept"] })).items.map(({ action }) => action), [DrainAction.MIGRATE, DrainAction.STOP]);
    assert.deepEqual(await node(), before);
  });

  it("refuses nodes that there are not, and machines that are not there, by name", async () => {
    for (const call of ["planDrain", "drainNode"] as const) {
      const attempt = (name: string, allowStop: string[]) => refusal(server.admin.nodes[call]({ name, planId: "", ...ANY, ...ONCE, allowStop }));
      assert.equal((await attempt("nowhere", [])).code, "NOT_FOUND");
      assert.deepEqual([...(await attempt("", [])).fields.keys()], ["name"]);
      const wrong = await attempt("a", ["live", "gone", "team/kept"]);
      assert.deepEqual([wrong.code, [...wrong.fields.keys()]], ["INVALID_ARGUMENT", ["allow_stop[1]", "allow_stop[2]"]]);
      assert.match(wrong.fields.get("allow_stop[1]")![0]!, /must name a machine of the node: "default\/gone" is none; there are default\/kept, default\/live/);
      assert.deepEqual([...(await attempt("a", [""])).fields.keys()], ["allow_stop[0]"]);
      assert.deepEqual([...(await attempt("a", ["x".repeat(321)])).fields.keys()], ["allow_stop[0]"]);
      assert.deepEqual([...(await attempt("a", Array.from({ length: 1_001 }, () => "live"))).fields.keys()], ["allow_stop"]);
    }
    assert.deepEqual([...(await refusal(drain({ planId: "x".repeat(65) }))).fields.keys()], ["plan_id"]);
    assert.equal((await node()).status!.drain, undefined);
  });

  it("refuses a plan that is not that of now, and says what has changed", async () => {
    const unknown = await refusal(drain({ planId: "0123456789abcdef" }));
    assert.deepEqual([unknown.code, unknown.reason, unknown.preconditions], ["FAILED_PRECONDITION", "PLAN_CHANGED", ["PLAN_CHANGED"]]);
    // Shown on one listener and asked for on the other.
    const root = await server.as("root", []);
    await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("root", { role: "admin", subjects: [user("root")] }) });
    const { id } = (await root.nodes.planDrain({ name: "a", ...ANY, allowStop: ["kept"] })).plan!;
    assert.match((await refusal(drain({ planId: id }))).message, /default\/kept: blocked instead of stop/);
    assert.equal((await node()).spec!.unschedulable, false);
  });

  it("records exactly the plan that was seen, once", async () => {
    const { id, items } = await plan();
    await drain({ planId: id, validateOnly: true });
    assert.equal((await node()).status!.drain, undefined, "nothing is recorded to be validated");
    const drained = await drain({ planId: id, requestId: "r-1" });
    assert.equal(drained.spec!.unschedulable, true);
    assert.deepEqual(drained.status!.drain!.plan!.items, items);
    assert.equal(drained.status!.drain!.subject, "local");
    assert.deepEqual(await drain({ planId: id, requestId: "r-1" }), drained, "the same request has the same answer");
    assert.equal((await drain()).status!.drain!.uid, drained.status!.drain!.uid, "nor does another one of the same plan");
    const other = await drain({ allowStop: ["kept"] });
    assert.notEqual(other.status!.drain!.uid, drained.status!.drain!.uid, "another plan takes its place");
  });

  it("ends with the uncordon, which may be repeated", async () => {
    const uncordon = async () => (await server.admin.nodes.uncordonNode({ name: "a", ...ONCE })).node!;
    const ended = await uncordon();
    assert.deepEqual([ended.spec!.unschedulable, ended.status!.drain!.cancelled], [false, true]);
    assert.deepEqual(await uncordon(), ended);
  });

  it("stops no machine that its caller could not stop by hand", async () => {
    await server.admin.roles.createRole({ ...ONCE, role: role("drainer", { verbs: ["drain"], kinds: ["Node"] }) });
    await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("dora", { role: "drainer", subjects: [user("dora")] }) });
    const dora = await server.as("dora", []);
    const ask = (allowStop: string[]) => dora.nodes.drainNode({ name: "a", planId: "", allowStop, allowStopAll: false, ...ONCE });
    const denied = await refusal(ask(["kept"]));
    assert.deepEqual([denied.code, denied.reason], ["PERMISSION_DENIED", "STOP_NOT_ALLOWED"]);
    assert.match(denied.message, /may not stop VirtualMachine "default\/kept"/);
    assert.equal((await node()).spec!.unschedulable, false);
    assert.equal((await ask([])).node!.spec!.unschedulable, true);
    const stranger = await server.as("mallory", []);
    for (const attempt of [stranger.nodes.planDrain({ name: "a", ...ANY }), stranger.nodes.drainNode({ name: "a", planId: "", ...ANY, ...ONCE })]) {
      assert.equal((await refusal(attempt)).code, "PERMISSION_DENIED");
    }
  });

  it("leaves the first place in the queue to administrators and the control plane", async () => {
    await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("olga", { role: "operator", subjects: [user("olga")] }) });
    const olga = await server.as("olga", []);
    const migration = (priority: MigrationPriority) => VirtualMachineInstanceMigration.create({ metadata: { name: "first", namespace: "default" }, spec: { vmiName: "live", targetNode: "b", priority } });
    const refused = await refusal(olga.migrations.createVirtualMachineInstanceMigration({ ...ONCE, migration: migration(MigrationPriority.SYSTEM_CRITICAL) }));
    assert.deepEqual([refused.code, refused.reason], ["PERMISSION_DENIED", "PRIORITY_RESERVED"]);
    const invalid = await refusal(olga.migrations.createVirtualMachineInstanceMigration({ ...ONCE, migration: migration(99 as MigrationPriority) }));
    assert.deepEqual([invalid.code, [...invalid.fields.keys()]], ["INVALID_ARGUMENT", ["migration.spec.priority"]]);
    const made = await olga.migrations.createVirtualMachineInstanceMigration({ ...ONCE, migration: migration(MigrationPriority.UNSPECIFIED) });
    assert.equal(made.migration!.spec!.priority, MigrationPriority.USER);
  });
});
