import assert from "node:assert/strict";
import { ObjectMeta } from "../../../../gen/drover/v1/meta.ts";
import { VirtualMachineInstanceMigrationSpec, VirtualMachineInstanceMigrationStatus } from "../../../../gen/drover/v1/migration.ts";
import { InstanceMigration } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { places, shownPlace } from "../../../../controller/migration/queue.ts";
import type { Waiting } from "../../../../controller/migration/queue.ts";
import { instanceFor } from "../../../../controller/virtual-machine/decide.ts";
import { World } from "../world.ts";
import { RunStrategy } from "../../../../gen/drover/v1/virtual_machine.ts";

const limits = { fleet: 3, outboundPerNode: 2, inboundPerNode: 1 };

function waiting(uid: string, sourceNode: string, targetNode = ""): Waiting {
  const metadata = ObjectMeta.create({ uid, name: uid, creationTimestamp: new Date(Number(uid)) });
  const spec = VirtualMachineInstanceMigrationSpec.create({ vmiName: uid, targetNode });
  return { migration: { metadata, spec, status: VirtualMachineInstanceMigrationStatus.create() }, sourceNode };
}

function active(sourceNode: string, targetNode: string) {
  const world = new World();
  world.addMachine(RunStrategy.ALWAYS);
  const instance = instanceFor(world.machine()!);
  return { ...instance, status: { ...instance.status, migration: InstanceMigration.create({ sourceNode, targetNode }) } };
}

const cases: { name: string; queue: Waiting[]; active: ReturnType<typeof active>[]; expected: Record<string, number> }[] = [
  { name: "lets all go that there is room for, and counts the rest from one", queue: [waiting("4", "d"), waiting("1", "a"), waiting("2", "b"), waiting("3", "c"), waiting("5", "e")], active: [], expected: { 1: 0, 2: 0, 3: 0, 4: 1, 5: 2 } },
  { name: "counts those under way", queue: [waiting("1", "c"), waiting("2", "c")], active: [active("a", "b"), active("a", "d")], expected: { 1: 0, 2: 1 } },
  { name: "lets others past one whose own node is full", queue: [waiting("1", "a"), waiting("2", "c")], active: [active("a", "b"), active("a", "d")], expected: { 1: 1, 2: 0 } },
  { name: "holds one whose target is full", queue: [waiting("1", "c", "b"), waiting("2", "c", "d")], active: [active("a", "b")], expected: { 1: 1, 2: 0 } },
];

describe("the queue of migrations", () => {
  for (const { name, queue, active: moving, expected } of cases) {
    it(name, () => assert.deepEqual(Object.fromEntries(places(queue, { active: moving, limits })), expected));
  }
});

describe("the place in a waiting migration's record", () => {
  it("is exact in front and never further off than half or double", () => {
    for (let place = 1; place <= 500; place += 1) {
      for (let shown = 0; shown <= 500; shown += 1) {
        const told = shownPlace(place, shown);
        if (place <= 2) assert.equal(told, place);
        assert.ok(told > 0 && told < 2 * place && place < 2 * told, `${told} for ${place}`);
      }
    }
    assert.equal(shownPlace(0, 4), 0);
  });

  it("is written a few times for each migration of a long drain, not once for each that goes before it", () => {
    const length = 1_000;
    const shown = Array.from({ length }, () => 0);
    let writes = 0;
    for (let left = 0; left < length; left += 1) {
      for (let index = left; index < length; index += 1) {
        const told = shownPlace(index - left, shown[index]!);
        if (told !== shown[index]) writes += 1;
        shown[index] = told;
      }
    }
    assert.ok(writes < 12 * length, `${writes} writes`);
  });
});

describe("the queue as it is kept", () => {
  const world = () => {
    const made = new World();
    for (const name of ["a", "b"]) made.addNode(name);
    made.addMachine(RunStrategy.ALWAYS);
    made.settle();
    return made;
  };

  it("counts anew when a migration comes, is admitted elsewhere, or ends", () => {
    const made = world();
    const { places: kept, caches } = made.context;
    for (const name of ["1", "2", "3"]) made.addMigration(name);
    const place = () => caches.migrations.list().map((migration) => kept.of(migration));
    assert.deepEqual(place(), [0, 0, 1], "two may leave one node");
    const other = active("a", "b");
    made.create(caches.instances, { ...other, metadata: { ...other.metadata, name: "other", uid: "other" } });
    const source = made.instance()!.status.nodeName;
    assert.deepEqual(place(), source === "a" ? [0, 1, 2] : [0, 0, 1]);
    const [first] = caches.migrations.list();
    caches.migrations.apply({ type: "gone", object: first!, revision: "world.99999" });
    assert.deepEqual(place(), source === "a" ? [0, 1] : [0, 0]);
  });

  it("names those who may go on, and those whose record shows another place", () => {
    const made = world();
    for (const name of ["1", "2", "3"]) made.addMigration(name);
    const moved = () => made.context.places.moved().map(({ metadata }) => metadata.name);
    assert.deepEqual(moved(), ["1", "2", "3"]);
    const third = made.caches.migrations.get("default/3")!;
    made.put(made.caches.migrations, { ...third, status: { ...third.status, queuePosition: 1 } });
    assert.deepEqual(moved(), ["1", "2"]);
  });
});
