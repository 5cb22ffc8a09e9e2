/** Who is woken by what: nobody whom a change does not concern, or each start costs more the more machines there are. */
import assert from "node:assert/strict";
import { ObjectMeta } from "../../../gen/drover/v1/meta.ts";
import { RunStrategy } from "../../../gen/drover/v1/virtual_machine.ts";
import { DomainState, OwnerClaim, OwnerReport } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import type { Instance } from "../../../controller/objects.ts";
import { instanceFor } from "../../../controller/virtual-machine/decide.ts";
import { wake } from "../../../controller/wiring.ts";
import { aSpec, World } from "./world.ts";

const FLEET = 300;
const UNPLACED = 20;

function crowded() {
  const world = new World();
  for (const name of ["a", "b"]) world.addNode(name);
  world.addMachine(RunStrategy.ALWAYS);
  const template = instanceFor(world.machine()!);
  const add = (name: string, nodeName: string): Instance => {
    const metadata = ObjectMeta.create({ ...template.metadata, name, uid: name, ownerReferences: [] });
    const claim = nodeName === "" ? undefined : OwnerClaim.create({ nodeName, epoch: 1 });
    world.create(world.caches.instances, { ...template, metadata, spec: aSpec({ disks: [], guest: "4Mi" }), status: { ...template.status, nodeName, epoch: 1, claim } });
    return world.caches.instances.get(`default/${name}`)!;
  };
  for (let count = 0; count < FLEET; count += 1) add(`bound-${count}`, count % 2 === 0 ? "a" : "b");
  for (let count = 0; count < UNPLACED; count += 1) add(`unplaced-${count}`, "");
  const one = add("one", "");
  wake(world.context, world.loops);
  const waiting = () => Object.fromEntries(Object.entries(world.loops).map(([name, { queue }]) => [name, queue.length]));
  const put = (status: Partial<Instance["status"]>) => {
    const held = world.caches.instances.get("default/one")!;
    world.put(world.caches.instances, { ...held, status: { ...held.status, ...status } });
  };
  return { world, one, put, waiting };
}

const ALONE = { machine: 1, instance: 1, migration: 0, node: 0, drain: 0, volume: 0 };

describe("a change", () => {
  it("wakes its own machine alone when room is taken, reported on or claimed", () => {
    const { put, waiting } = crowded();
    put({ nodeName: "a", epoch: 1 });
    put({ claim: OwnerClaim.create({ nodeName: "a", epoch: 1 }) });
    put({ ownerReport: OwnerReport.create({ nodeName: "a", epoch: 1, state: DomainState.RUNNING }) });
    assert.deepEqual(waiting(), ALONE);
  });

  it("wakes those without a node when room is given back", () => {
    const { put, waiting } = crowded();
    put({ nodeName: "a", epoch: 1 });
    put({ ownerReport: OwnerReport.create({ nodeName: "a", epoch: 1, state: DomainState.GONE }) });
    assert.deepEqual(waiting(), { ...ALONE, instance: UNPLACED + 1 });
  });

  it("wakes the node when that is being freed after a fence", () => {
    const { world, put, waiting } = crowded();
    put({ nodeName: "a", epoch: 1 });
    world.silence("a");
    world.fence("a");
    const before = waiting();
    assert.equal(before["node"], 1);
    assert.ok(before["instance"]! >= FLEET / 2, "all that the node has");
  });

  it("lets a placement read no machine but its own", () => {
    const { world, one } = crowded();
    const { instances } = world.caches;
    const read: string[] = [];
    const [get, by] = [instances.get.bind(instances), instances.by.bind(instances)];
    Object.assign(instances, {
      get: (key: string) => (read.push(key), get(key)),
      by: (index: "node", value: string) => by(index, value).map((found) => (read.push(found.metadata.name), found)),
      list: () => assert.fail("the whole fleet was read"),
    });
    const { actions } = world.loops.instance.reconcile(`default/${one.metadata.name}`);
    assert.deepEqual(actions.map((action) => action.do), ["put-instance", "notify"]);
    assert.deepEqual(read, ["default/one"]);
  });
});
