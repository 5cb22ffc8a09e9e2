/** MAC addresses and firmware UUIDs: one machine each, whoever races for them, and free again when they are used no more. */
import assert from "node:assert/strict";
import { FirmwareSpec } from "../../../../gen/drover/v1/machine.ts";
import type { VirtualMachine } from "../../../../gen/drover/v1/virtual_machine.ts";
import { VirtualMachineInstance } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { FailedPrecondition } from "../../../../lib/errors.ts";
import { type Kind, metaOf, type Resource } from "../../../../api-server/kinds/kind.ts";
import { virtualMachineInstances, virtualMachines } from "../../../../api-server/kinds/table.ts";
import { StoreObjects } from "../../../../api-server/records/objects.ts";
import { StoreFull, type Write } from "../../../../api-server/store/store.ts";
import { admin, callBy, edited, machine, makeObjects, refusedAs, rules, user } from "../fixture.ts";

const MAC = "02:00:00:00:00:01";
const OTHER_MAC = "02:00:00:00:00:02";
const UUID = "5a6b0b2e-0e0c-4f5e-9d3a-0a4b8c1d2e3f";

const withMac = (name: string, mac: string): VirtualMachine =>
  edited(machine({ name }), (spec) => void (spec.domain!.devices!.interfaces[0]!.macAddress = mac));
const withUuid = (name: string, uuid: string): VirtualMachine =>
  edited(machine({ name }), (spec) => void (spec.domain!.firmware = FirmwareSpec.create({ uuid })));
const runOf = (vm: VirtualMachine, name = vm.metadata!.name): VirtualMachineInstance =>
  VirtualMachineInstance.create({ metadata: { name }, spec: vm.spec!.template!.spec! });

const duplicateMac = refusedAs(FailedPrecondition, "DUPLICATE_MAC_ADDRESS");
const duplicateUuid = refusedAs(FailedPrecondition, "DUPLICATE_FIRMWARE_UUID");

type Parts = Awaited<ReturnType<typeof makeObjects>>;

describe("what only one machine may have", () => {
  let parts: Parts;
  beforeEach(async () => void (parts = await makeObjects()));

  const create = (vm: VirtualMachine, changes = {}) => parts.objects.create(virtualMachines, vm, callBy(user, changes));
  const run = (vm: VirtualMachine, name?: string) => parts.objects.create(virtualMachineInstances, runOf(vm, name), callBy(admin));
  const revealed = (name: string) => parts.objects.revealed.get(virtualMachines, { name });
  const records = async () => (await parts.store.list("identifiers/")).items.map(({ key }) => key);
  const again = () => new StoreObjects({ ...parts, rules, stopping: parts.stop.signal });

  async function remove<T extends Resource>(kind: Kind<T>, name: string): Promise<void> {
    await parts.objects.remove(kind, { name }, callBy(admin));
    await parts.objects.change(kind, { name }, (object) => ({ ...object, metadata: { ...metaOf(object), finalizers: [] } }), callBy(admin));
  }

  it("is refused to a second, in any spelling, also when it is only asked, with the path and who has it", async () => {
    await create(withMac("a", MAC));
    await assert.rejects(create(withMac("b", MAC)), duplicateMac);
    await assert.rejects(create(withMac("b", MAC), { validateOnly: true }), duplicateMac);
    await assert.rejects(run(withMac("b", MAC)), duplicateMac);
    await create(withUuid("c", UUID));
    await assert.rejects(create(withUuid("d", UUID.toUpperCase())), duplicateUuid);
    await assert.rejects(create(withUuid("d", UUID)), (error: FailedPrecondition) => {
      assert.deepEqual(error.preconditions, [{
        type: "DUPLICATE_FIRMWARE_UUID", subject: "virtualmachines/default/d",
        message: `virtual_machine.spec.template.spec.domain.firmware.uuid: "${UUID}" belongs to the machine "default/c"`,
      }]);
      return true;
    });
    assert.deepEqual((await parts.objects.list(virtualMachines)).items.map(({ metadata }) => metadata!.name), ["a", "c"]);
    await create(withMac("b", OTHER_MAC));
  });

  it("comes to one of many that want it at once", async () => {
    for (let round = 0; round < 20; round += 1) {
      const mac = `02:00:00:00:01:${String(round).padStart(2, "0")}`;
      const wants = Array.from({ length: 8 }, (_, i) => create(withMac(`vm-${round}-${i}`, mac)));
      const outcomes = await Promise.allSettled(wants);
      assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
      for (const outcome of outcomes) if (outcome.status === "rejected") assert.ok(duplicateMac(outcome.reason), String(outcome.reason));
    }
    const { items } = await parts.objects.list(virtualMachines);
    assert.equal(items.length, 20);
    assert.equal((await records()).length, 40, "what a loser took it gave back");
  });

  it("is the machine's and its run's together, and costs the run no commit", async () => {
    await create(withMac("a", MAC));
    const vm = await revealed("a");
    const before = await parts.store.head();
    await run(vm);
    const numbers = [before, await parts.store.head()].map((revision) => Number(revision.split(".")[1]));
    assert.equal(numbers[1]! - numbers[0]!, 1);
    await assert.rejects(run(vm, "b"), duplicateUuid);
  });

  it("moves with an update, but not to one that another has, and stays with a run that still uses it", async () => {
    await create(withMac("a", MAC));
    await create(withMac("b", OTHER_MAC));
    await run(await revealed("a"));
    const change = (mac: string) => parts.objects.change(virtualMachines, { name: "a" }, (stored) =>
      edited(stored, (spec) => void (spec.domain!.devices!.interfaces[0]!.macAddress = mac)), callBy(user));
    await assert.rejects(change(OTHER_MAC), duplicateMac);
    await change("02:00:00:00:00:03");
    await assert.rejects(create(withMac("c", MAC)), duplicateMac);
    await remove(virtualMachineInstances, "a");
    await create(withMac("c", MAC));
    await assert.rejects(create(withMac("d", "02:00:00:00:00:03")), duplicateMac);
  });

  it("is free after a deletion, and the same name may have it again at once", async () => {
    await create(withMac("a", MAC));
    await parts.objects.remove(virtualMachines, { name: "a" }, callBy(user));
    await assert.rejects(create(withMac("b", MAC)), duplicateMac);
    await remove(virtualMachines, "a");
    assert.deepEqual(await records(), []);
    await create(withMac("b", MAC));
    await remove(virtualMachines, "b");
    await Promise.all([create(withMac("c", MAC)), assert.rejects(create(withMac("d", MAC)), duplicateMac)]);
  });

  it("is known to the next server, and what a crash left is put right", async () => {
    await create(withMac("a", MAC));
    parts.objects = again();
    await assert.rejects(create(withMac("b", MAC)), duplicateMac);
    // It took what it wanted, and ended before the machine was recorded, and before it could give anything back.
    const commit = parts.store.commit.bind(parts.store);
    let isDown = false;
    parts.store.commit = (write: Write) => {
      isDown ||= write.key.startsWith("virtualmachines/");
      return isDown ? Promise.reject(new StoreFull("full")) : commit(write);
    };
    await assert.rejects(create(withMac("lost", OTHER_MAC)), StoreFull);
    parts.store.commit = commit;
    await assert.rejects(create(withMac("b", OTHER_MAC)), duplicateMac);
    const key = `identifiers/mac/${MAC}`;
    await parts.store.commit({ key, expected: (await parts.store.get(key))!.revision, value: null });
    await again().identifiers.tidy(parts.stop.signal);
    await create(withMac("b", OTHER_MAC));
    await assert.rejects(create(withMac("c", MAC)), duplicateMac);
    const settled = await records();
    await again().identifiers.tidy(parts.stop.signal);
    assert.deepEqual(await records(), settled);
  });
});
