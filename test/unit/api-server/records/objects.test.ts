/** Mutations through the one door: what every kind gets without asking for it. */
import assert from "node:assert/strict";
import { Node } from "../../../../gen/drover/v1/node.ts";
import { PowerIntent, RunStrategy, VirtualMachine } from "../../../../gen/drover/v1/virtual_machine.ts";
import { Phase, VirtualMachineInstance } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound } from "../../../../lib/errors.ts";
import { metaOf } from "../../../../api-server/kinds/kind.ts";
import { nodes, virtualMachineInstances, virtualMachines } from "../../../../api-server/kinds/table.ts";
import { digestOf } from "../../../../api-server/records/secrets.ts";
import { admin, callBy, edited, faultPaths, machine, makeObjects, refusedAs, user, version } from "../fixture.ts";

const key = { namespace: "default", name: "web" };
const labelled = (vm: VirtualMachine, team: string): VirtualMachine => ({ ...vm, metadata: { ...metaOf(vm), labels: { team } } });

describe("objects: creation", () => {
  it("fills in identity, defaults, finalizer and power, and ignores what users may not say", async () => {
    const { objects } = await makeObjects();
    const sent = { ...machine(), status: { ...VirtualMachine.decode(new Uint8Array()).status!, lastEpoch: 9 } } as VirtualMachine;
    const vm = await objects.create(virtualMachines, { ...sent, metadata: { ...metaOf(sent), uid: "mine", finalizers: ["x/y"] } }, callBy(user));
    const metadata = metaOf(vm);
    assert.deepEqual([metadata.namespace, metadata.generation, metadata.finalizers], ["default", 1, ["drover.dev/instance"]]);
    assert.notEqual(metadata.uid, "mine");
    assert.equal(vm.status?.power?.intent, PowerIntent.RUN);
    assert.equal(vm.status?.lastEpoch, 0);
    assert.equal(vm.spec?.template?.spec?.terminationGracePeriodSeconds, 30);
    assert.match(vm.spec?.template?.spec?.domain?.devices?.interfaces[0]?.macAddress ?? "", /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/);
  });

  it("begins with the intent that the strategy says", async () => {
    const { objects } = await makeObjects();
    const expected = new Map([
      [RunStrategy.ALWAYS, PowerIntent.RUN], [RunStrategy.RERUN_ON_FAILURE, PowerIntent.RUN], [RunStrategy.ONCE, PowerIntent.RUN],
      [RunStrategy.MANUAL, PowerIntent.STOP], [RunStrategy.HALTED, PowerIntent.STOP],
    ]);
    for (const [strategy, intent] of expected) {
      const vm = await objects.create(virtualMachines, machine({ name: `m${strategy}`, strategy }), callBy(user));
      assert.equal(vm.status?.power?.intent, intent);
    }
  });

  it("refuses a second object of the name and a namespace that is not there", async () => {
    const { objects } = await makeObjects();
    await objects.create(virtualMachines, machine(), callBy(user));
    await assert.rejects(objects.create(virtualMachines, machine(), callBy(user)), AlreadyExists);
    const elsewhere = { ...machine(), metadata: { ...metaOf(machine()), namespace: "nowhere" } };
    await assert.rejects(objects.create(virtualMachines, elsewhere, callBy(user)), refusedAs(FailedPrecondition, "NAMESPACE_NOT_FOUND"));
  });

  it("reports the request's faults and the object's together, from the request's root, and stores nothing", async () => {
    const { objects, store } = await makeObjects();
    const head = await store.head();
    const bad = edited(machine({ name: "Web" }), (spec) => { spec.domain!.memory!.guest = "0"; });
    const call = callBy(user, { faults: [{ path: "request_id", message: "is odd" }] });
    const paths = await faultPaths(objects.create(virtualMachines, bad, call));
    assert.deepEqual(paths, ["request_id", "virtual_machine.metadata.name", "virtual_machine.spec.template.spec.domain.memory.guest"]);
    assert.equal(await store.head(), head);
  });

  it("checks everything and records nothing when it is only asked to validate", async () => {
    const { objects, store } = await makeObjects();
    const head = await store.head();
    const vm = await objects.create(virtualMachines, machine(), callBy(user, { validateOnly: true }));
    assert.equal(metaOf(vm).generation, 1);
    assert.equal(await store.head(), head);
    await assert.rejects(objects.get(virtualMachines, key), NotFound);
  });
});

describe("objects: repeats", () => {
  const repeat = callBy(user, { requestId: "r1", repeatable: true, bodyHash: "a" });

  it("answers a repeat with the first answer, also after the object has changed", async () => {
    const { objects, store } = await makeObjects();
    const first = await objects.create(virtualMachines, machine(), repeat);
    await objects.change(virtualMachines, key, (vm) => labelled(vm, "b"), callBy(user));
    const head = await store.head();
    assert.deepEqual(await objects.create(virtualMachines, machine(), repeat), first);
    assert.equal(await store.head(), head);
  });

  it("refuses another request under the same id, but not another subject's", async () => {
    const { objects } = await makeObjects();
    await objects.create(virtualMachines, machine(), repeat);
    const other = { ...repeat, bodyHash: "b" };
    await assert.rejects(objects.create(virtualMachines, machine({ name: "db" }), other), refusedAs(InvalidArgument, "REQUEST_ID_REUSED"));
    const vm = await objects.create(virtualMachines, machine({ name: "db" }), { ...other, caller: admin });
    assert.equal(metaOf(vm).name, "db");
  });

  it("carries out ten equal requests at once exactly once", async () => {
    const { objects } = await makeObjects();
    const answers = await Promise.all(Array.from({ length: 10 }, () => objects.create(virtualMachines, machine(), repeat)));
    assert.equal(new Set(answers.map((vm) => metaOf(vm).uid)).size, 1);
  });

  it("remembers a request that had nothing to do", async () => {
    const { objects } = await makeObjects();
    await objects.create(virtualMachines, machine(), callBy(user));
    const idle = await objects.change(virtualMachines, key, () => undefined, repeat);
    const again = await objects.change(virtualMachines, key, () => assert.fail("decided again"), repeat);
    assert.deepEqual(again, idle);
  });

  it("answers the repeat of a deletion with what was deleted", async () => {
    const { objects } = await makeObjects();
    await objects.create(nodes, Node.create({ metadata: { name: "a" } }), callBy(admin));
    const gone = await objects.remove(nodes, { name: "a" }, repeat);
    assert.equal(metaOf(await objects.remove(nodes, { name: "a" }, repeat)).uid, metaOf(gone).uid);
  });
});

describe("objects: changes", () => {
  it("counts the generation for the spec alone and gives each commit its version", async () => {
    const { objects } = await makeObjects();
    const first = await objects.create(virtualMachines, machine(), callBy(user));
    const second = await objects.change(virtualMachines, key, (vm) => labelled(vm, "a"), callBy(user));
    const third = await objects.change(virtualMachines, key, (vm) => edited(vm, (spec) => { spec.domain!.memory!.guest = "128Mi"; }), callBy(user));
    assert.deepEqual([first, second, third].map((vm) => metaOf(vm).generation), [1, 1, 2]);
    assert.equal(new Set([first, second, third].map(version)).size, 3);
  });

  it("refuses a stale version and another uid, and takes whatever stands when none is named", async () => {
    const { objects } = await makeObjects();
    const vm = await objects.create(virtualMachines, machine(), callBy(user));
    await objects.change(virtualMachines, key, (current) => labelled(current, "a"), callBy(user));
    const stale = { ...callBy(user), expected: version(vm) };
    await assert.rejects(objects.change(virtualMachines, key, (current) => labelled(current, "b"), stale), Aborted);
    const other = { ...callBy(user), uid: "another" };
    await assert.rejects(objects.change(virtualMachines, key, (current) => labelled(current, "b"), other), refusedAs(Aborted, "UID_MISMATCH"));
  });

  it("loses no change when many are made at once", async () => {
    const { objects } = await makeObjects();
    await objects.create(virtualMachines, machine(), callBy(user));
    const add = (name: string) => (vm: VirtualMachine) => ({ ...vm, metadata: { ...metaOf(vm), labels: { ...metaOf(vm).labels, [name]: "x" } } });
    await Promise.all(Array.from({ length: 20 }, (_, i) => objects.change(virtualMachines, key, add(`l${i}`), callBy(user))));
    const vm = await objects.get(virtualMachines, key);
    assert.equal(Object.keys(metaOf(vm).labels).length, 20);
  });

  it("keeps fields that a newer version wrote", async () => {
    const { objects, store } = await makeObjects();
    await objects.create(virtualMachines, machine(), callBy(user));
    const stored = (await store.get("virtualmachines/default/web"))!;
    // Field 5000, length-delimited, one byte.
    const unknown = new Uint8Array([0xc2, 0xb8, 0x02, 0x01, 0x7f]);
    await store.commit({ key: stored.key, expected: stored.revision, value: Buffer.concat([stored.value, unknown]) });
    await objects.change(virtualMachines, key, (vm) => labelled(vm, "a"), callBy(user));
    const bytes = (await store.get(stored.key))!.value;
    assert.ok(Buffer.from(bytes).includes(Buffer.from(unknown)));
  });

  it("keeps the firmware's identity whether it is left out or changed", async () => {
    const { objects } = await makeObjects();
    const vm = await objects.create(virtualMachines, machine(), callBy(user));
    const uuid = vm.spec!.template!.spec!.domain!.firmware!.uuid;
    const without = await objects.change(virtualMachines, key, (current) => ({ ...current, spec: machine().spec }), callBy(user));
    assert.equal(without.spec!.template!.spec!.domain!.firmware!.uuid, uuid);
    const other = objects.change(virtualMachines, key, (current) => edited(current, (spec) => {
      spec.domain!.firmware!.uuid = "11111111-1111-4111-8111-111111111111";
    }), callBy(user));
    assert.deepEqual(await faultPaths(other), ["virtual_machine.spec.template.spec.domain.firmware.uuid"]);
  });

  it("follows a changed run strategy with the intent, and leaves it with Manual", async () => {
    const { objects } = await makeObjects();
    await objects.create(virtualMachines, machine(), callBy(user));
    const strategy = (runStrategy: RunStrategy) =>
      objects.change(virtualMachines, key, (vm) => ({ ...vm, spec: { ...vm.spec!, runStrategy } }), callBy(user));
    const power = async (runStrategy: RunStrategy) => (await strategy(runStrategy)).status!.power!;
    const halted = await power(RunStrategy.HALTED);
    assert.deepEqual([halted.intent, halted.generation], [PowerIntent.STOP, 2]);
    assert.deepEqual([(await power(RunStrategy.MANUAL)).intent], [PowerIntent.STOP]);
    const always = await power(RunStrategy.ALWAYS);
    assert.deepEqual([always.intent, always.generation], [PowerIntent.RUN, 3]);
  });
});

describe("objects: deletion", () => {
  it("marks what a finalizer holds and removes it with the last one", async () => {
    const { objects } = await makeObjects();
    await objects.create(virtualMachines, machine(), callBy(user));
    const marked = await objects.remove(virtualMachines, key, callBy(user));
    assert.ok(metaOf(marked).deletionTimestamp);
    const bare = (vm: VirtualMachine): VirtualMachine => ({ ...vm, metadata: { ...metaOf(vm), finalizers: [] } });
    await objects.change(virtualMachines, key, bare, callBy(admin));
    assert.equal(await objects.find(virtualMachines, key), undefined);
  });

  it("lets a later deletion only shorten the grace", async () => {
    const { objects } = await makeObjects();
    const vmi = VirtualMachineInstance.create({ metadata: { name: "web" }, spec: { ...machine().spec!.template!.spec!, terminationGracePeriodSeconds: 60 } });
    await objects.create(virtualMachineInstances, vmi, callBy(user));
    const grace = async (asked?: number) => {
      const call = { ...callBy(user), ...(asked !== undefined && { gracePeriodSeconds: asked }) };
      return metaOf(await objects.remove(virtualMachineInstances, key, call)).deletionGracePeriodSeconds;
    };
    assert.deepEqual([await grace(), await grace(90), await grace(5), await grace()], [60, 60, 5, 5]);
  });
});

describe("objects: secrets", () => {
  const secretOf = (vm: VirtualMachine) => {
    const source = vm.spec!.template!.spec!.volumes[1]!.source;
    return source?.$case === "cloudInitNoCloud" ? source.value.userData : undefined;
  };
  const reveal = async (objects: Awaited<ReturnType<typeof makeObjects>>["objects"]) => secretOf(await objects.revealed.get(virtualMachines, key));

  it("answers digests, keeps the value through an update without it, and takes a new one", async () => {
    const { objects } = await makeObjects();
    const created = await objects.create(virtualMachines, machine({ userData: "one" }), callBy(user));
    assert.deepEqual([secretOf(created)?.value, secretOf(created)?.digest], ["", digestOf("one")]);
    assert.equal(secretOf(await objects.get(virtualMachines, key))?.value, "");
    await objects.change(virtualMachines, key, () => edited(created, (spec) => { spec.domain!.memory!.guest = "96Mi"; }), callBy(user));
    assert.equal((await reveal(objects))?.value, "one");
    await objects.change(virtualMachines, key, (vm) => ({ ...vm, spec: machine({ userData: "two" }).spec }), callBy(user));
    assert.deepEqual([(await reveal(objects))?.value, (await reveal(objects))?.digest], ["two", digestOf("two")]);
  });

  it("refuses the mask and a digest without a value", async () => {
    const { objects } = await makeObjects();
    const path = "virtual_machine.spec.template.spec.volumes[1].cloud_init_no_cloud";
    assert.deepEqual(await faultPaths(objects.create(virtualMachines, machine({ userData: "***" }), callBy(user))), [`${path}.user_data.value`]);
    const digestOnly = edited(machine(), (spec) => {
      spec.volumes[1]!.source = { $case: "cloudInitNoCloud", value: { userData: { value: "", digest: digestOf("x") }, networkData: undefined } };
    });
    assert.deepEqual(await faultPaths(objects.create(virtualMachines, digestOnly, callBy(user))), [path]);
  });

  it("gives an instance its machine's values, unless they have changed since they were read", async () => {
    const { objects } = await makeObjects();
    const vm = await objects.create(virtualMachines, machine({ userData: "one" }), callBy(user));
    const owner = { kind: "VirtualMachine", name: "web", uid: metaOf(vm).uid };
    const instance = (name: string): VirtualMachineInstance => ({
      ...VirtualMachineInstance.create(),
      metadata: { ...VirtualMachineInstance.create({ metadata: {} }).metadata!, name, ownerReferences: [owner] },
      spec: vm.spec!.template!.spec,
    });
    await objects.create(virtualMachineInstances, instance("web"), callBy(admin));
    const revealed = await objects.revealed.get(virtualMachineInstances, key);
    const source = revealed.spec!.volumes[1]!.source;
    assert.equal(source?.$case === "cloudInitNoCloud" && source.value.userData?.value, "one");
    assert.equal(revealed.status?.phase, Phase.PENDING);
    await objects.change(virtualMachines, key, (current) => ({ ...current, spec: machine({ userData: "two" }).spec }), callBy(user));
    await assert.rejects(objects.create(virtualMachineInstances, instance("other"), callBy(admin)), refusedAs(Aborted, "OWNER_CHANGED"));
  });
});

describe("objects: what an instance continues", () => {
  async function ran(lastEpoch: number) {
    const made = await makeObjects();
    const created = await made.objects.create(virtualMachines, machine(), callBy(user));
    const status = { ...created.status!, lastEpoch };
    const vm = await made.objects.change(virtualMachines, key, (current) => ({ ...current, status }), callBy(admin));
    const instance = (lastGrantedEpoch: number, uid = metaOf(vm).uid): VirtualMachineInstance => {
      const owner = { kind: "VirtualMachine", name: "web", uid };
      const empty = VirtualMachineInstance.create({ metadata: { name: "web", ownerReferences: [owner] }, status: { lastGrantedEpoch } });
      return { ...empty, spec: vm.spec!.template!.spec };
    };
    return { ...made, vm, instance };
  }

  it("refuses an instance below the epochs that the machine's runs have had, and takes one at them", async () => {
    const { objects, store, instance } = await ran(7);
    const head = await store.head();
    for (const epoch of [0, 6]) {
      await assert.rejects(objects.create(virtualMachineInstances, instance(epoch), callBy(admin)), refusedAs(Aborted, "STALE_EPOCH"));
    }
    assert.equal(await store.head(), head);
    const made = await objects.create(virtualMachineInstances, instance(7), callBy(admin));
    assert.equal(made.status?.lastGrantedEpoch, 7);
  });

  it("refuses an instance that is born with an owner at an epoch that the machine's runs have had", async () => {
    const { objects, store, instance } = await ran(7);
    const born = (epoch: number) => ({ ...instance(epoch), status: { ...instance(epoch).status!, nodeName: "a", epoch } });
    const head = await store.head();
    for (const epoch of [6, 7]) await assert.rejects(objects.create(virtualMachineInstances, born(epoch), callBy(admin)), refusedAs(Aborted, "STALE_EPOCH"));
    assert.equal(await store.head(), head);
    assert.equal((await objects.create(virtualMachineInstances, born(8), callBy(admin))).status?.epoch, 8);
  });

  it("refuses an instance made from a machine that has been changed, stopped or started since", async () => {
    const { objects, store, vm, instance } = await ran(0);
    const [machineGeneration, powerGeneration] = [metaOf(vm).generation, 4];
    const power = { ...vm.status!.power!, generation: powerGeneration };
    await objects.change(virtualMachines, key, (current) => ({ ...current, status: { ...current.status!, power } }), callBy(admin));
    const made = (origin: { machineGeneration: number; powerGeneration: number }) => ({ ...instance(0), status: { ...instance(0).status!, ...origin } });
    const head = await store.head();
    for (const old of [{ machineGeneration: machineGeneration + 1, powerGeneration }, { machineGeneration, powerGeneration: powerGeneration - 1 }]) {
      await assert.rejects(objects.create(virtualMachineInstances, made(old), callBy(admin)), refusedAs(Aborted, "OWNER_CHANGED"));
    }
    assert.equal(await store.head(), head);
    await objects.create(virtualMachineInstances, made({ machineGeneration, powerGeneration }), callBy(admin));
  });

  it("refuses an instance of a machine that is another one, being deleted or gone", async () => {
    const { objects, instance } = await ran(0);
    await assert.rejects(objects.create(virtualMachineInstances, instance(0, "another"), callBy(admin)), refusedAs(Aborted, "OWNER_CHANGED"));
    await objects.remove(virtualMachines, key, callBy(user));
    await assert.rejects(objects.create(virtualMachineInstances, instance(0), callBy(admin)), refusedAs(Aborted, "OWNER_CHANGED"));
    await objects.change(virtualMachines, key, (current) => ({ ...current, metadata: { ...metaOf(current), finalizers: [] } }), callBy(admin));
    await assert.rejects(objects.create(virtualMachineInstances, instance(0), callBy(admin)), refusedAs(Aborted, "OWNER_CHANGED"));
  });

  it("says of a name that is taken that it is taken, whatever the epoch, and answers a repeat", async () => {
    const { objects, instance } = await ran(7);
    const call = callBy(admin, { requestId: "once", repeatable: true });
    const first = await objects.create(virtualMachineInstances, instance(7), call);
    assert.deepEqual(await objects.create(virtualMachineInstances, instance(7), call), first);
    await assert.rejects(objects.create(virtualMachineInstances, instance(0), callBy(admin)), AlreadyExists);
  });
});
