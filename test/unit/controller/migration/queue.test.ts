import assert from "node:assert/strict";
import { ObjectMeta } from "../../../../gen/drover/v1/meta.ts";
import { VirtualMachineInstanceMigrationSpec, VirtualMachineInstanceMigrationStatus } from "../../../../gen/drover/v1/migration.ts";
import { InstanceMigration } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { places } from "../../../../controller/migration/queue.ts";
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
