/** A drain lived through: its plan is what happens, it ends or says what it waits for, and stops nobody without leave. */
import assert from "node:assert/strict";
import { EvictionStrategy } from "../../../../gen/drover/v1/machine.ts";
import { ConditionStatus } from "../../../../gen/drover/v1/meta.ts";
import { DrainAction, DrainReason } from "../../../../gen/drover/v1/node.ts";
import { RunStrategy } from "../../../../gen/drover/v1/virtual_machine.ts";
import { withFacts } from "../../../../controller/conditions.ts";
import { Herd, nameIn } from "./herd.ts";

const { NONE, LIVE_MIGRATE, LIVE_MIGRATE_IF_POSSIBLE, EXTERNAL } = EvictionStrategy;

/** "MIGRATE b", by name. */
const planned = (herd: Herd, node: string, ...allowed: string[]) =>
  Object.fromEntries(herd.plan(node, allowed).items.map(({ name, action, targetNode }) => [name, `${nameIn(DrainAction, action)} ${targetNode}`.trim()]));

const pinned = { cpuModel: "host-passthrough" };

describe("a drain", () => {
  it("moves every machine where the plan says, within the limits, and is over", () => {
    const herd = new Herd(["a", "b", "c"]);
    for (let index = 0; index < 6; index += 1) herd.add(`m${index}`, "a");
    const plan = herd.drain("a");
    assert.ok(plan.items.every(({ action }) => action === DrainAction.MIGRATE));
    assert.deepEqual(new Set(plan.items.map(({ targetNode }) => targetNode)), new Set(["b", "c"]), "both nodes take their part");
    herd.rest();
    assert.equal(herd.phase("a"), "COMPLETED");
    assert.deepEqual(herd.places(), Object.fromEntries(plan.items.map(({ name, targetNode }) => [name, targetNode])));
    assert.deepEqual(herd.world.stops, []);
    assert.equal(herd.node("a").spec.unschedulable, true);
    assert.ok(["DrainRunning", "DrainCompleted"].every((reason) => herd.world.notices.includes(reason)));
  });

  it("does with each strategy what its owner chose", () => {
    const herd = new Herd(["a", "b"]);
    herd.add("kept", "a", { strategy: NONE });
    herd.add("live", "a", { strategy: LIVE_MIGRATE });
    herd.add("fixed", "a", { strategy: LIVE_MIGRATE, ...pinned });
    herd.add("either", "a", { strategy: LIVE_MIGRATE_IF_POSSIBLE });
    herd.add("stopped", "a", { strategy: LIVE_MIGRATE_IF_POSSIBLE, runStrategy: RunStrategy.RERUN_ON_FAILURE });
    herd.add("outside", "a", { strategy: EXTERNAL });
    const unmovable = herd.world.caches.instances.get("default/stopped")!;
    const fact = { type: "LiveMigratable", status: ConditionStatus.FALSE, reason: "No", message: "it is bolted down" };
    herd.world.put(herd.world.caches.instances, { ...unmovable, status: { ...unmovable.status, conditions: withFacts(unmovable.status.conditions, [fact], new Date(0)) } });
    assert.deepEqual(planned(herd, "a"), {
      kept: "BLOCKED", live: "MIGRATE b", fixed: "BLOCKED", either: "MIGRATE b", stopped: "STOP", outside: "WAIT_EXTERNAL",
    });
    herd.drain("a");
    herd.rest();
    assert.deepEqual(herd.items("a"), { kept: "BLOCKED", live: "DONE b", fixed: "BLOCKED", either: "DONE b", stopped: "DONE", outside: "BLOCKED" });
    assert.equal(herd.phase("a"), "WAITING");
    assert.deepEqual(herd.world.stops.filter(({ byDrain }) => byDrain), [{ name: "stopped", byDrain: true }]);
    assert.equal(herd.places()["stopped"], "b", "its intent to run was kept");
    const waiting = herd.node("a").status.drainProgress!.waitingFor;
    assert.deepEqual(waiting.map((line) => line.split(":")[0] ?? "").toSorted(), ["default/fixed", "default/kept", "default/outside"]);
    const marks = herd.world.caches.instances.list().flatMap(({ metadata, status }) => status.conditions.filter(({ type }) => type === "EvacuationRequested").map(({ reason }) => [metadata.name, reason]));
    assert.deepEqual(Object.fromEntries(marks), { kept: "HoldsDrainUp", fixed: "HoldsDrainUp", outside: "External" });
  });

  it("stops what the operator allowed by name, and nothing else", () => {
    const herd = new Herd(["a", "b"]);
    for (const name of ["one", "two"]) herd.add(name, "a", { strategy: NONE });
    assert.deepEqual(planned(herd, "a", "one"), { one: "STOP", two: "BLOCKED" });
    herd.drain("a", { allowStop: ["one"] });
    herd.rest();
    assert.deepEqual(herd.places(), { one: "b", two: "a" });
    herd.drain("a", { allowStopAll: true });
    herd.rest();
    assert.deepEqual(herd.places(), { one: "b", two: "b" });
    assert.equal(herd.phase("a"), "COMPLETED");
  });

  it("leaves a machine off whose strategy does not start it again", () => {
    const herd = new Herd(["a", "b"]);
    herd.add("once", "a", { strategy: NONE, runStrategy: RunStrategy.ONCE });
    herd.drain("a", { allowStop: ["default/once"] });
    herd.rest();
    assert.deepEqual(herd.places(), {});
  });

  it("stops machines only when those that move have left", () => {
    const herd = new Herd(["a", "b"]);
    herd.add("moves", "a");
    herd.add("stops", "a", { strategy: NONE });
    herd.outcomes.set("b", "hangs");
    herd.drain("a", { allowStopAll: true });
    herd.rest();
    assert.deepEqual(herd.items("a"), { moves: "RUNNING b", stops: "PENDING" });
    herd.outcomes.clear();
    herd.rest();
    assert.equal(herd.phase("a"), "COMPLETED");
  });

  it("changes nothing when it is asked for again", () => {
    const herd = new Herd(["a", "b", "c"]);
    for (const name of ["one", "two", "three"]) herd.add(name, "a");
    herd.add("kept", "a", { strategy: NONE });
    for (const name of ["b", "c"]) herd.outcomes.set(name, "hangs");
    herd.drain("a");
    herd.rest();
    const { drain } = herd.node("a").status;
    herd.drain("a");
    assert.equal(herd.node("a").status.drain, drain);
    herd.outcomes.clear();
    herd.rest();
    herd.drain("a");
    assert.equal(herd.node("a").status.drain, drain);
  });
});

describe("an uncordon", () => {
  it("cancels what has not begun, and lets the rest run to its end", () => {
    const herd = new Herd(["a", "b"]);
    for (let index = 0; index < 4; index += 1) herd.add(`m${index}`, "a");
    herd.add("outside", "a", { strategy: EXTERNAL });
    herd.outcomes.set("b", "hangs");
    herd.drain("a");
    herd.rest();
    const begun = Object.entries(herd.items("a")).filter(([, told]) => told === "RUNNING b").map(([name]) => name);
    assert.equal(begun.length, 2, "two may leave one node");
    herd.uncordon("a");
    herd.rest();
    assert.equal(herd.phase("a"), "CANCELLING");
    herd.outcomes.clear();
    herd.rest();
    assert.equal(herd.phase("a"), "CANCELLED");
    const items = herd.items("a");
    for (const name of ["m0", "m1", "m2", "m3"]) assert.equal(items[name], begun.includes(name) ? "DONE b" : "CANCELLED b");
    assert.equal(Object.values(herd.places()).filter((node) => node === "b").length, 2);
    assert.deepEqual(herd.world.caches.instances.list().flatMap(({ status }) => status.conditions.filter(({ type }) => type === "EvacuationRequested")), []);
    assert.deepEqual(herd.world.stops, []);
  });

  it("ends it too when the record is edited, and stops nobody after", () => {
    const herd = new Herd(["a", "b"]);
    herd.add("moves", "a");
    herd.add("stops", "a", { strategy: NONE });
    herd.outcomes.set("b", "hangs");
    herd.drain("a", { allowStopAll: true });
    herd.rest();
    herd.cordon("a", false);
    herd.outcomes.clear();
    herd.rest();
    assert.equal(herd.phase("a"), "CANCELLED");
    assert.deepEqual(herd.world.stops, []);
    assert.equal(herd.items("a")["stops"], "CANCELLED");
  });
});

describe("a drain, when things change under it", () => {
  it("waits a while for a target that is lost, then takes another one and says so", () => {
    const herd = new Herd(["a", "b", "c"]);
    herd.add("web", "a");
    herd.cordon("c", true);
    herd.outcomes.set("b", "refuses");
    assert.deepEqual(planned(herd, "a"), { web: "MIGRATE b" });
    herd.drain("a");
    herd.rest();
    assert.equal(herd.items("a")["web"], "FAILED b");
    herd.cordon("c", false);
    herd.cordon("b", true);
    herd.rest();
    assert.deepEqual([herd.items("a")["web"], herd.item("a", "web").reason], ["PENDING b", DrainReason.TARGET_LOST]);
    herd.pass(31_000);
    assert.equal(herd.phase("a"), "COMPLETED");
    assert.deepEqual(herd.places(), { web: "c" });
    assert.match(herd.world.notices.join(), /DrainReplanned/);
    assert.equal(herd.node("a").status.drain!.plan!.items[0]!.targetNode, "b", "the plan stays what was agreed");
  });

  it("says when nobody can take a machine, never stops it for that, and goes on when somebody can", () => {
    const herd = new Herd(["a", "b"]);
    herd.add("web", "a", { strategy: LIVE_MIGRATE_IF_POSSIBLE });
    herd.outcomes.set("b", "stays");
    herd.drain("a");
    herd.rest();
    herd.cordon("b", true);
    herd.pass(60_000);
    assert.deepEqual([herd.items("a")["web"], herd.phase("a")], ["BLOCKED b", "WAITING"]);
    assert.match(herd.item("a", "web").message, /0\/2 nodes fit/);
    assert.deepEqual(herd.world.stops, [], "the plan said that it moves");
    herd.outcomes.clear();
    herd.cordon("b", false);
    herd.pass(60_000);
    assert.equal(herd.phase("a"), "COMPLETED");
  });

  it("tries a failed migration again, later each time", () => {
    const herd = new Herd(["a", "b"]);
    herd.add("web", "a");
    herd.outcomes.set("b", "stays");
    herd.drain("a");
    herd.rest();
    for (const [attempt, seconds] of [[1, 20], [2, 40], [3, 80], [4, 160], [5, 300], [6, 300]] as const) {
      const { attempts, message } = herd.item("a", "web");
      assert.equal(attempts, attempt);
      assert.match(message, new RegExp(`attempt ${attempt} failed: .*; it is tried again after ${seconds} s`));
      herd.pass(seconds * 1_000 - 1);
      assert.equal(herd.item("a", "web").attempts, attempt, "not before");
      herd.pass(1);
    }
    assert.equal(herd.phase("a"), "RUNNING");
  });

  it("takes another target after three failed attempts, if there is one", () => {
    const herd = new Herd(["a", "b", "c"]);
    herd.add("web", "a");
    herd.outcomes.set("b", "stays");
    herd.drain("a");
    herd.rest();
    for (const seconds of [20, 40]) herd.pass(seconds * 1_000);
    assert.deepEqual([herd.items("a")["web"], herd.item("a", "web").attempts], ["PENDING b", 3]);
    herd.pass(31_000);
    assert.deepEqual([herd.phase("a"), herd.places()], ["COMPLETED", { web: "c" }]);
    assert.deepEqual(herd.world.moves.map(({ to }) => to), ["b", "b", "b", "c"]);
    assert.match(herd.world.notices.join(), /DrainReplanned/);
  });

  it("does not fight who cancels a migration of it, and goes on when drained again", () => {
    const herd = new Herd(["a", "b"]);
    herd.add("web", "a");
    herd.outcomes.set("b", "hangs");
    herd.drain("a");
    herd.rest();
    const [migration] = herd.world.migrations();
    herd.world.put(herd.world.caches.migrations, { ...migration!, status: { ...migration!.status, cancelRequested: true } });
    herd.outcomes.set("b", "moves");
    herd.rest();
    herd.pass(600_000);
    assert.deepEqual([herd.phase("a"), herd.item("a", "web").reason], ["WAITING", DrainReason.MIGRATION_CANCELLED]);
    herd.drain("a");
    herd.rest();
    assert.equal(herd.phase("a"), "COMPLETED");
  });

  it("waits for a silent node, and is over when that is fenced", () => {
    const herd = new Herd(["a", "b"]);
    herd.add("web", "a");
    herd.add("kept", "a", { strategy: NONE });
    herd.world.silence("a");
    herd.drain("a", { allowStopAll: true });
    herd.rest();
    assert.deepEqual([herd.phase("a"), herd.items("a")], ["WAITING", { web: "BLOCKED", kept: "BLOCKED" }]);
    assert.deepEqual(herd.world.stops, []);
    herd.world.fence("a");
    herd.rest();
    assert.equal(herd.phase("a"), "COMPLETED");
    assert.deepEqual(herd.places(), { web: "b", kept: "b" });
  });

  it("takes in machines that came after the plan, and stops none of them", () => {
    const herd = new Herd(["a", "b"]);
    herd.add("first", "a", { strategy: NONE });
    herd.drain("a");
    herd.rest();
    // Bound before the cordon was seen, and taken after it.
    herd.cordon("a", false);
    const drain = herd.node("a").status.drain!;
    herd.add("late", "a", { strategy: LIVE_MIGRATE_IF_POSSIBLE, ...pinned });
    herd.add("live", "a");
    const node = herd.node("a");
    herd.world.put(herd.world.caches.nodes, { ...node, spec: { ...node.spec, unschedulable: true }, status: { ...node.status, drain: { ...drain, uid: "again" } } });
    herd.rest();
    assert.deepEqual(herd.items("a"), { first: "BLOCKED", late: "BLOCKED", live: "DONE b" });
    assert.deepEqual([herd.item("a", "late").added, herd.item("a", "live").added, herd.item("a", "first").added], [true, true, false]);
    assert.deepEqual(herd.world.stops, []);
  });

  it("does not plan past the room that there is", () => {
    const herd = new Herd(["a", "b"]);
    for (const name of ["one", "two", "three"]) herd.add(name, "a", { guest: "2Gi" });
    herd.add("there", "b", { guest: "2Gi" });
    const actions = Object.values(planned(herd, "a"));
    assert.deepEqual(actions.toSorted(), ["BLOCKED", "MIGRATE b", "MIGRATE b"]);
  });

  it("lets two nodes be drained at once, and none to the other", () => {
    const herd = new Herd(["a", "b", "c"]);
    herd.add("one", "a");
    herd.add("two", "b");
    for (const name of ["a", "b"]) herd.drain(name);
    herd.rest();
    herd.pass(60_000);
    assert.deepEqual([herd.phase("a"), herd.phase("b")], ["COMPLETED", "COMPLETED"]);
    assert.deepEqual(herd.places(), { one: "c", two: "c" });
  });

  it("lets go of a machine that its owner stops meanwhile", () => {
    const herd = new Herd(["a", "b"]);
    herd.add("web", "a", { strategy: NONE });
    herd.drain("a");
    herd.rest();
    const instance = herd.world.caches.instances.get("default/web")!;
    herd.world.carryOut({ do: "delete-instance", instance });
    herd.rest();
    assert.equal(herd.phase("a"), "COMPLETED");
    assert.equal(herd.item("a", "web").reason, DrainReason.STOPPED);
  });
});
