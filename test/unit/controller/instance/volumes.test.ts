import assert from "node:assert/strict";
import { RunStrategy } from "../../../../gen/drover/v1/virtual_machine.ts";
import { VolumeHolder, VolumeStatus } from "../../../../gen/drover/v1/volume.ts";
import { conditionOf } from "../../../../controller/conditions.ts";
import { foreignVolume, volumeName, volumesFor } from "../../../../controller/instance/volumes.ts";
import { PoolDisk } from "../../../../gen/drover/v1/machine.ts";
import { aNode, aSpec, World } from "../world.ts";

const NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;

describe("the name of a volume", () => {
  it("spells out what a name may not hold", () => {
    assert.equal(volumeName("5f0c", "default_web_root.qcow2"), "5f0c.default-x5f-web-x5f-root.qcow2");
    assert.notEqual(volumeName("5f0c", "A.raw"), volumeName("5f0c", "a.raw"));
  });

  it("is always one that the API takes", () => {
    for (const image of ["_", "a_.raw", "-", "_".repeat(128), "Ä.raw", "a..b"]) assert.match(volumeName("5f0c", image), NAME);
  });
});

describe("the volumes of a start", () => {
  it("are those that the guest may write to, each once", () => {
    const spec = aSpec({ disks: ["root", "root", "data"] });
    const disks = spec.domain.devices!.disks;
    const readonly = { ...spec, domain: { ...spec.domain, devices: { ...spec.domain.devices!, disks: [disks[0]!, disks[1]!, { ...disks[2]!, device: { $case: "cdrom" as const, value: { bus: 0 as const } } }] } } };
    assert.deepEqual(volumesFor({ ...instanceNamed("web"), spec: readonly }, aNode("a"), () => undefined).map(({ spec: { image } }) => image), ["root"]);
  });

  it("are refused while another holds one, and taken when it lets go", () => {
    const world = new World();
    world.addNode("a");
    const [volume] = volumesFor({ ...instanceNamed("web"), spec: aSpec() }, aNode("a"), () => undefined);
    const holder = VolumeHolder.create({ namespace: "default", name: "other", vmiUid: "uid-other" });
    world.create(world.caches.instances, { ...instanceNamed("other"), status: { ...instanceNamed("other").status, heldVolumes: [volume!.metadata.name], nodeName: "elsewhere" } });
    world.create(world.caches.volumes, { ...volume!, status: VolumeStatus.create({ holder }) });
    world.addMachine(RunStrategy.ALWAYS);
    world.settle();
    assert.equal(world.instance()!.status.nodeName, "");
    const condition = conditionOf(world.instance()!.status.conditions, "VolumesHeld");
    assert.equal(condition?.reason, "VolumeInUse");
    assert.match(condition?.message ?? "", /default\/other/);
    const other = world.caches.instances.get("default/other")!;
    world.put(world.caches.instances, { ...other, metadata: { ...other.metadata, deletionTimestamp: new Date(0), finalizers: [] } });
    world.settle();
    assert.equal(world.instance()!.status.nodeName, "a");
    assert.equal(world.caches.volumes.get(volume!.metadata.name)?.status.holder?.vmiUid, world.instance()!.metadata.uid);
  });

  it("belong to the namespace that wrote to them first, also for reading and as a base", () => {
    const mine = { ...instanceNamed("web"), spec: aSpec() };
    const [volume] = volumesFor(mine, aNode("a"), () => undefined);
    assert.equal(volume!.spec.namespace, "default");
    const theirs = { ...volume!, spec: { ...volume!.spec, namespace: "other" } };
    const find = (name: string) => (name === theirs.metadata.name ? theirs : undefined);
    assert.equal(foreignVolume(mine, aNode("a"), find), theirs);
    const { pool, image } = volume!.spec;
    const overlay = { name: "root", source: { $case: "disk" as const, value: { ...PoolDisk.create({ pool, image: "mine.qcow2", baseImage: image }) } } };
    assert.equal(foreignVolume({ ...mine, spec: { ...mine.spec, volumes: [overlay] } }, aNode("a"), find), theirs);
    assert.equal(foreignVolume(mine, aNode("a"), () => ({ ...theirs, spec: { ...theirs.spec, namespace: "" } })), undefined);
  });

  it("of another namespace keep a machine waiting, with the reason and without the other's name", () => {
    const world = new World();
    world.addNode("a");
    const [volume] = volumesFor({ ...instanceNamed("web"), spec: aSpec() }, aNode("a"), () => undefined);
    world.create(world.caches.volumes, { ...volume!, spec: { ...volume!.spec, namespace: "secret-tenant" } });
    world.addMachine(RunStrategy.ALWAYS);
    world.settle();
    assert.equal(world.instance()!.status.nodeName, "");
    const condition = conditionOf(world.instance()!.status.conditions, "VolumesHeld");
    assert.equal(condition?.reason, "VolumeOfAnotherNamespace");
    assert.doesNotMatch(condition?.message ?? "", /secret-tenant/);
  });
});

function instanceNamed(name: string) {
  const world = new World();
  world.addMachine(RunStrategy.ALWAYS);
  world.settle();
  const instance = world.instance()!;
  return { ...instance, metadata: { ...instance.metadata, name, uid: `uid-${name}`, ownerReferences: [], resourceVersion: "" } };
}
