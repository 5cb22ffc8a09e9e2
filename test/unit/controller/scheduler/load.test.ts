import assert from "node:assert/strict";
import * as fc from "fast-check";
import { RunStrategy } from "../../../../gen/drover/v1/virtual_machine.ts";
import { DomainState, InstanceMigration, OwnerReport } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { makeCaches } from "../../../../controller/context.ts";
import type { Instance } from "../../../../controller/objects.ts";
import { FleetLoad } from "../../../../controller/scheduler/load.ts";
import { plus, sharesOf } from "../../../../lib/preflight/load.ts";
import type { Load } from "../../../../lib/preflight/load.ts";
import { instanceFor } from "../../../../controller/virtual-machine/decide.ts";
import { aSpec, World } from "../world.ts";

const NODES = ["a", "b", "c"];
const NOTHING: Load = { machines: 0, memoryBytes: 0, cpus: 0, inbound: 0, outbound: 0 };

function instance(status: Partial<Instance["status"]>, name = "x", guest = "512Mi"): Instance {
  const world = new World();
  world.addMachine(RunStrategy.ALWAYS, aSpec({ guest }));
  const made = instanceFor(world.machine()!);
  return { ...made, metadata: { ...made.metadata, name, uid: name }, status: { ...made.status, ...status } };
}

const moving = (handedOff = false) => InstanceMigration.create({ sourceNode: "a", targetNode: "b", handedOff });
const gone = (nodeName: string) => OwnerReport.create({ nodeName, state: DomainState.GONE });

describe("what an instance takes from nodes", () => {
  const cases: [string, Partial<Instance["status"]>, string[]][] = [
    ["nothing before it is bound", { nodeName: "" }, []],
    ["its node", { nodeName: "a" }, ["a"]],
    ["nothing when it is gone", { nodeName: "a", ownerReport: gone("a") }, []],
    ["both nodes while it moves", { nodeName: "a", migration: moving() }, ["a", "b+in"]],
    ["the target alone when it is gone from the source and may still arrive", { nodeName: "a", migration: moving(), ownerReport: gone("a") }, ["b+in"]],
    ["both until the source has tidied up", { nodeName: "b", migration: moving(true) }, ["b", "a"]],
  ];
  for (const [name, status, expected] of cases) {
    it(name, () => assert.deepEqual(sharesOf(instance(status)).map(({ node, inbound }) => (inbound > 0 ? `${node}+in` : node)), expected));
  }
});

describe("the load of the fleet", () => {
  it("is the sum of what is there, whatever came, changed and went", () => {
    const status = fc.oneof(
      fc.constantFrom(...NODES, "").map((nodeName) => ({ nodeName })),
      fc.constantFrom(true, false).map((handedOff) => ({ nodeName: "a", migration: moving(handedOff) })),
      fc.constantFrom(...NODES).map((nodeName) => ({ nodeName, ownerReport: gone(nodeName) })),
    );
    const change = fc.record({ name: fc.constantFrom("x", "y", "z"), guest: fc.constantFrom("64Mi", "1Gi"), status: fc.option(status, { nil: undefined }) });
    fc.assert(fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
      const cache = makeCaches().instances;
      const load = new FleetLoad(cache);
      changes.forEach(({ name, guest, status: next }, index) => {
        const object = instance(next ?? {}, name, guest);
        object.metadata.resourceVersion = `s.${index + 1}`;
        cache.apply({ type: next ? "put" : "gone", object, revision: `s.${index + 1}` });
        for (const node of NODES) {
          const there = cache.list().flatMap(sharesOf).filter((share) => share.node === node);
          assert.deepEqual(load.on(node), there.reduce((sum, share) => plus(sum, share), NOTHING));
          for (const held of cache.list()) {
            const others = cache.list().filter((other) => other !== held).flatMap(sharesOf).filter((share) => share.node === node);
            assert.deepEqual(load.onWithout(node, held), others.reduce((sum, share) => plus(sum, share), NOTHING));
          }
        }
      });
    }), { numRuns: 60 });
  });
});
