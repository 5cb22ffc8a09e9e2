/** Machines whose disks are on one node alone: where the records say that the bytes are, before, while and after they move. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { MigrationPhase } from "../../../../gen/drover/v1/migration.ts";
import { NodePool } from "../../../../gen/drover/v1/node.ts";
import { PowerIntent, RunStrategy } from "../../../../gen/drover/v1/virtual_machine.ts";
import { VolumeSpec, VolumeState, VolumeStatus } from "../../../../gen/drover/v1/volume.ts";
import { conditionOf } from "../../../../controller/conditions.ts";
import { volumeName } from "../../../../controller/instance/volumes.ts";
import { REMOVAL_MS } from "../../../../controller/volume/decide.ts";
import { imageFate } from "../../../../node-agent/machine/leftover-images.ts";
import { Fleet } from "../fleet.ts";
import { Lost } from "../world.ts";

const IMAGE = "root.qcow2";
const idOf = (node: string) => `of-${node}`;
const nameOn = (node: string) => volumeName(idOf(node), IMAGE);

/** Each node has a pool of its own under the one name. */
function apart(names = ["a", "b"]): Fleet {
  const fleet = new Fleet(names);
  for (const name of names) {
    fleet.world.changeNode(name, (status) => ({
      ...status, report: { ...status.report!, pools: [NodePool.create({ name: "shared", id: idOf(name), path: "/srv/pool" })] },
    }));
  }
  fleet.world.addMachine(RunStrategy.ALWAYS);
  fleet.rest();
  return fleet;
}

const owner = (fleet: Fleet): string => fleet.world.instance()!.status.nodeName;
const other = (name: string): string => (name === "a" ? "b" : "a");
const states = (fleet: Fleet): Record<string, VolumeState> =>
  Object.fromEntries(fleet.world.caches.volumes.list().map(({ metadata, status }) => [metadata.name, status.state]));
const holders = (fleet: Fleet): string[] => fleet.world.caches.volumes.list().filter(({ status }) => status.holder).map(({ metadata }) => metadata.name);
const { UNSPECIFIED: THERE, INCOMING, VACATED } = VolumeState;

function issue(fleet: Fleet, name = "move"): { source: string; target: string } {
  const source = owner(fleet);
  const target = other(source);
  fleet.world.addMigration(name);
  for (let turn = 0; turn < 8 && !fleet.host(source).calling; turn += 1) {
    fleet.world.settle();
    fleet.agent(target);
    fleet.agent(source);
  }
  assert.ok(fleet.host(source).calling, "the transfer never began");
  return { source, target };
}

describe("a machine with a disk of its node's", () => {
  it("says that its disks are copied", () => {
    assert.equal(conditionOf(apart().world.instance()!.status.conditions, "LiveMigratable")?.reason, "DisksAreCopied");
  });

  it("starts where its disk is, and nowhere else", () => {
    const fleet = apart();
    const home = owner(fleet);
    fleet.world.power(PowerIntent.STOP);
    fleet.rest();
    fleet.world.changeNode(home, (status) => ({ ...status, report: { ...status.report!, memoryBytes: 1 } }));
    fleet.world.power(PowerIntent.RUN);
    fleet.world.settle();
    assert.equal(owner(fleet), "");
    assert.match(conditionOf(fleet.world.instance()!.status.conditions, "Scheduled")?.message ?? "", /does not have the machine's disk/);
  });

  it("holds a place at the target from before it is admitted, whose bytes are not there yet", () => {
    const fleet = apart();
    const { source, target } = issue(fleet);
    assert.deepEqual(states(fleet), { [nameOn(source)]: THERE, [nameOn(target)]: INCOMING });
    const { heldVolumes, migration } = fleet.world.instance()!.status;
    assert.deepEqual(heldVolumes.toSorted(), [nameOn(source), nameOn(target)].toSorted());
    assert.deepEqual(migration!.copiedDisks.map(({ volume, sourceVolume, targetVolume }) => [volume, sourceVolume, targetVolume]), [["disk-0", nameOn(source), nameOn(target)]]);
    const holding = fleet.world.commits.lastIndexOf("hold-volume");
    assert.ok(fleet.world.commits.indexOf("put-instance", holding) > holding, "first the place, then the admission");
  });

  it("is on record at the target alone after the handoff, and starts there from then on", () => {
    const fleet = apart();
    const { source, target } = issue(fleet);
    fleet.transfer("moves");
    fleet.agent(target);
    fleet.world.settle();
    fleet.agent(source);
    fleet.world.settle();
    assert.equal(fleet.world.migrations()[0]?.status.phase, MigrationPhase.SUCCEEDED);
    assert.deepEqual(states(fleet), { [nameOn(source)]: VACATED, [nameOn(target)]: THERE });
    assert.deepEqual(holders(fleet), [nameOn(target)]);
    assert.deepEqual(fleet.world.instance()!.status.heldVolumes, [nameOn(target)]);
    fleet.world.power(PowerIntent.STOP);
    fleet.rest();
    fleet.world.power(PowerIntent.RUN);
    fleet.rest();
    assert.deepEqual(fleet.running(), [target]);
  });

  it("is not closed before the volumes say where the bytes are", () => {
    const fleet = apart();
    const { source, target } = issue(fleet);
    fleet.transfer("moves");
    fleet.agent(target);
    const { reconcile } = fleet.world.loops.migration;
    for (let turn = 0; turn < 4; turn += 1) {
      fleet.world.nowMs += 60_000;
      for (const action of reconcile("default/web").actions) fleet.world.carryOut(action);
      fleet.agent(source);
    }
    assert.ok(fleet.world.instance()!.status.migration?.handedOff, "the volumes' own loop has not run");
    fleet.world.settle();
    assert.equal(fleet.world.instance()!.status.migration, undefined);
  });

  it("stays on record at the source when the move fails, and what is at the target may be removed", () => {
    const fleet = apart();
    const { source, target } = issue(fleet);
    fleet.transfer("stays");
    fleet.agent(source);
    fleet.world.settle();
    assert.equal(owner(fleet), source);
    assert.deepEqual(states(fleet), { [nameOn(source)]: THERE, [nameOn(target)]: VACATED });
    assert.deepEqual(fleet.world.instance()!.status.heldVolumes, [nameOn(source)]);
    const { uid } = fleet.world.migrations()[0]!.metadata;
    assert.equal(fleet.world.caches.volumes.get(nameOn(target))?.status.migrationUid, uid);
  });

  it("moves back onto what it left, without waiting for it to be removed", () => {
    const fleet = apart();
    const first = issue(fleet, "there");
    fleet.transfer("moves");
    for (const name of [first.target, first.source]) {
      fleet.agent(name);
      fleet.world.settle();
    }
    const second = issue(fleet, "back");
    assert.equal(second.target, first.source);
    assert.equal(states(fleet)[nameOn(second.target)], INCOMING);
    fleet.transfer("moves");
    for (const name of [second.target, second.source]) {
      fleet.agent(name);
      fleet.world.settle();
    }
    assert.deepEqual(states(fleet), { [nameOn(second.target)]: THERE, [nameOn(second.source)]: VACATED });
  });

  it("does not go where another image has its name, and says so", () => {
    const fleet = apart();
    const target = other(owner(fleet));
    fleet.world.create(fleet.world.caches.volumes, {
      metadata: { ...fleet.world.caches.volumes.list()[0]!.metadata, name: nameOn(target), uid: "", resourceVersion: "" },
      spec: VolumeSpec.create({ poolId: idOf(target), image: IMAGE, pool: "shared" }), status: VolumeStatus.create(),
    });
    fleet.world.addMigration("move");
    fleet.world.settle();
    fleet.world.nowMs += 1_000;
    fleet.world.settle();
    assert.match(fleet.world.migrations()[0]?.status.message ?? "", /another image under the disk's name/);
  });

  it("does not read what belongs to another namespace there", () => {
    const fleet = apart();
    const target = other(owner(fleet));
    const { spec } = fleet.world.instance()!;
    const disks = spec.domain.devices!.disks.map((disk) => ({ ...disk, device: { $case: "cdrom" as const, value: { bus: 0 as const } } }));
    fleet.world.put(fleet.world.caches.instances, { ...fleet.world.instance()!, spec: { ...spec, domain: { ...spec.domain, devices: { ...spec.domain.devices!, disks } } } });
    fleet.world.create(fleet.world.caches.volumes, {
      metadata: { ...fleet.world.caches.volumes.list()[0]!.metadata, name: nameOn(target), uid: "", resourceVersion: "" },
      spec: VolumeSpec.create({ poolId: idOf(target), image: IMAGE, pool: "shared", namespace: "theirs" }), status: VolumeStatus.create(),
    });
    fleet.world.addMigration("move");
    fleet.world.settle();
    fleet.world.nowMs += 1_000;
    fleet.world.settle();
    assert.match(fleet.world.migrations()[0]?.status.message ?? "", /another image under the disk's name/);
  });

  it("is not started over what was left behind until that is forgotten, which takes a node that stays connected", () => {
    const fleet = apart();
    const { source, target } = issue(fleet);
    fleet.transfer("moves");
    for (const name of [target, source]) {
      fleet.agent(name);
      fleet.world.settle();
    }
    fleet.world.silence(source);
    fleet.world.nowMs += 10 * REMOVAL_MS;
    fleet.world.settle();
    assert.equal(states(fleet)[nameOn(source)], VACATED, "its node has not been there");
    fleet.world.connect(source);
    fleet.world.settle();
    fleet.world.nowMs += REMOVAL_MS;
    fleet.world.settle();
    assert.equal(states(fleet)[nameOn(source)], undefined);
  });

  it("never loses its bytes and never leaves them in two places for ever, whoever acts when", () => {
    const rare = fc.constantFrom("stays", "time", "stop", "start", "off", "on");
    const often = fc.constantFrom("agent a", "agent b", "sweep a", "sweep b", "moves", "settle", "migrate", "round", "begin", "migrations", "volumes", "instance");
    const step = fc.oneof({ weight: 1, arbitrary: rare }, { weight: 5, arbitrary: often });
    fc.assert(fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const fleet = apart();
      const files = new Files(fleet, owner(fleet));
      for (const [index, one] of steps.entries()) {
        const { world } = fleet;
        if (one.startsWith("agent")) files.agent(one.at(-1)!);
        else if (one.startsWith("sweep")) files.sweep(one.at(-1)!);
        else if (one === "moves" || one === "stays") files.transfer(one);
        else if (one === "settle") world.settle();
        else if (one === "round") files.round();
        else if (one === "begin") files.begin(`move-${index}`);
        else if (one === "migrations") loop(fleet, "migration", ["default/web"]);
        else if (one === "instance") loop(fleet, "instance", ["default/web"]);
        else if (one === "volumes") loop(fleet, "volume", world.caches.volumes.list().map(({ metadata }) => metadata.name));
        else if (one === "time") world.nowMs += 31_000;
        else if (one === "migrate") world.addMigration(`move-${index}`);
        else if (one === "stop") world.power(PowerIntent.STOP);
        else if (one === "start") world.power(PowerIntent.RUN);
        else if (one === "off") world.silence("a");
        else world.connect("a");
        files.check();
      }
      files.end();
    }), { numRuns: 150 });
  });
});

/** One loop alone, as far as it gets before somebody else has changed what it read. */
function loop({ world }: Fleet, name: "instance" | "migration" | "volume", keys: readonly string[]): void {
  for (const key of keys) {
    try {
      for (const action of world.loops[name].reconcile(key).actions) world.carryOut(action);
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
    }
  }
}

/** The images on both hosts' disks, and the agents' accounts of them; the machine's own bytes are where its guest last wrote. */
class Files {
  readonly #fleet: Fleet;
  readonly #on = new Set<string>();
  /** By host: the migrations of which something may be left. */
  readonly #accounts: Record<string, Set<string>> = { a: new Set(), b: new Set() };
  #at: string;

  constructor(fleet: Fleet, at: string) {
    this.#fleet = fleet;
    this.#at = at;
    this.#on.add(at);
  }

  agent(name: string): void {
    const grant = this.#fleet.world.instance()?.status.migration;
    const isNew = grant && grant.copiedDisks.length > 0 && !grant.handedOff && !grant.source?.state && !this.#accounts[name]!.has(grant.uid);
    if (isNew && [grant.sourceNode, grant.targetNode].includes(name)) {
      // What an earlier migration left is in the new image's way, and no account of it is needed any more.
      if (grant.targetNode === name) {
        assert.notEqual(name, this.#at, "an image was made over the machine's own");
        this.#accounts[name]!.clear();
        this.#on.add(name);
      }
      this.#accounts[name]!.add(grant.uid);
    }
    this.#fleet.agent(name);
  }

  round(): void {
    for (const name of ["b", "a"]) {
      this.#fleet.world.settle();
      this.agent(name);
    }
  }

  begin(name: string): void {
    this.#fleet.world.addMigration(name);
    for (let turn = 0; turn < 4; turn += 1) this.round();
  }

  transfer(outcome: "moves" | "stays"): void {
    const call = this.#fleet.hosts.find(({ calling, guest }) => calling && guest)?.calling;
    this.#fleet.transfer(outcome);
    if (outcome === "moves" && call && this.#fleet.host(call.target).guest) this.#at = call.target;
  }

  sweep(name: string): void {
    const { caches } = this.#fleet.world;
    const open = this.#fleet.world.instance()?.status.migration?.uid;
    for (const uid of this.#accounts[name]!) {
      const fate = imageFate(caches.volumes.get(nameOn(name)), uid);
      if (fate === "remove") this.#on.delete(name);
      if (uid !== open && fate !== "unknown") this.#accounts[name]!.delete(uid);
    }
  }

  check(): void {
    const { world } = this.#fleet;
    assert.ok(this.#on.has(this.#at), `the bytes at ${this.#at} are gone`);
    const there = world.caches.volumes.get(nameOn(this.#at));
    assert.ok(there && there.status.state !== VACATED, `the bytes at ${this.#at} are given up`);
    const complete = Object.values(states(this.#fleet)).filter((state) => state === THERE).length;
    assert.ok(complete === 1 || world.instance()?.status.migration !== undefined, `${complete} places have the bytes`);
  }

  /** Everybody is there and has time. */
  end(): void {
    const { world } = this.#fleet;
    world.connect("a");
    this.transfer("stays");
    for (let turn = 0; turn < 30; turn += 1) {
      world.settle();
      for (const name of ["a", "b"]) {
        this.agent(name);
        world.settle();
        this.check();
      }
      for (const name of ["a", "b"]) this.sweep(name);
      this.transfer("stays");
      world.nowMs += REMOVAL_MS;
    }
    const instance = world.instance();
    assert.equal(instance?.status.migration, undefined, "a migration never ends");
    assert.deepEqual(states(this.#fleet), { [nameOn(this.#at)]: THERE }, "the records have come to rest");
    if (instance?.status.nodeName) assert.deepEqual(instance.status.heldVolumes, [nameOn(this.#at)]);
    assert.deepEqual([...this.#on], [this.#at], "an image was left behind");
  }
}
