import assert from "node:assert/strict";
import { TaintEffect } from "../../../../gen/drover/v1/machine.ts";
import { KvmState } from "../../../../gen/drover/v1/node.ts";
import type { NodeReport } from "../../../../gen/drover/v1/node.ts";
import { FrozenHardware, RunStrategy } from "../../../../gen/drover/v1/virtual_machine.ts";
import type { Instance, InstanceSpec, NodeRecord } from "../../../../controller/objects.ts";
import { demandOf } from "../../../../lib/capacity.ts";
import { frozenFor, resolveHardware } from "../../../../controller/scheduler/hardware.ts";
import { makeCaches } from "../../../../controller/context.ts";
import { FleetLoad } from "../../../../controller/scheduler/load.ts";
import { takeSnapshot } from "../../../../lib/preflight/candidate.ts";
import { choose, explain } from "../../../../lib/preflight/choose.ts";
import { instanceFor } from "../../../../controller/virtual-machine/decide.ts";
import { aNode, aSpec, World } from "../world.ts";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

function place(nodes: NodeRecord[], { spec = aSpec(), on = {} as Record<string, Instance[]> } = {}) {
  const cache = makeCaches().instances;
  const load = new FleetLoad(cache);
  for (const instance of Object.values(on).flat()) cache.apply({ type: "put", object: instance, revision: "s.1" });
  const snapshot = takeSnapshot(nodes, { loadOn: (name) => load.on(name) });
  return choose(snapshot, { instance: spec, hardware: undefined, demand: demandOf(spec), purpose: "start" });
}

function bound(nodeName: string, guest: string): Instance {
  const world = new World();
  world.addMachine(RunStrategy.ALWAYS, aSpec({ guest }));
  const instance = instanceFor(world.machine()!);
  return { ...instance, metadata: { ...instance.metadata, uid: "other" }, status: { ...instance.status, nodeName } };
}

const cordoned = (node: NodeRecord): NodeRecord => ({ ...node, spec: { ...node.spec, unschedulable: true } });

describe("a placement", () => {
  it("counts the overhead beside the guest's memory", () => {
    assert.equal(demandOf(aSpec({ guest: "512Mi" })).memoryBytes, (512 + 1 + 50 + 8 + 8 + 32) * MIB);
  });

  it("goes where most memory is free, by name where it is the same", () => {
    assert.equal(place([aNode("b"), aNode("a")]).chosen?.name, "a");
    assert.equal(place([aNode("a"), aNode("b")], { on: { a: [bound("a", "1Gi")] } }).chosen?.name, "b");
  });

  it("shuns a soft taint while another node fits", () => {
    const soft = aNode("a");
    const tainted = { ...soft, spec: { ...soft.spec, taints: [{ key: "old", value: "", effect: TaintEffect.PREFER_NO_SCHEDULE }] } };
    assert.equal(place([tainted, aNode("b", { memoryBytes: 2 * GIB })]).chosen?.name, "b");
    assert.equal(place([tainted]).chosen?.name, "a");
  });

  it("says why no node fits, with counts", () => {
    const { chosen, reasons } = place([aNode("a", { memoryBytes: 256 * MIB }), aNode("b", { memoryBytes: 256 * MIB }), cordoned(aNode("c"))]);
    assert.equal(chosen, undefined);
    assert.equal(explain(reasons), "0/3 nodes fit: 2 too little free memory, 1 node is cordoned");
    assert.equal(explain({}), "0/0 nodes fit: no node has joined");
  });

  it("names the label that nodes lack, and the value that was wanted", () => {
    const labelled = (name: string, labels: Record<string, string>): NodeRecord => {
      const node = aNode(name);
      return { ...node, metadata: { ...node.metadata, labels } };
    };
    const spec = { ...aSpec(), nodeSelector: { zone: "east", disk: "ssd" } };
    const nodes = [aNode("a"), labelled("b", { disk: "ssd", zone: "west" }), labelled("c", { disk: "ssd" })];
    assert.equal(explain(place(nodes, { spec }).reasons), "0/3 nodes fit: 2 node lacks a required label (zone=east), 1 node lacks a required label (disk=ssd)");
    assert.equal(place([...nodes, labelled("d", { disk: "ssd", zone: "east" })], { spec }).chosen?.name, "d");
    const asked = { instance: aSpec({ disks: [] }), hardware: undefined, demand: demandOf(aSpec()), purpose: "migrate" as const, addedNodeSelector: { rack: "7" } };
    const snapshot = takeSnapshot([aNode("a")], { loadOn: () => ({ machines: 0, memoryBytes: 0, cpus: 0, inbound: 0, outbound: 0 }) });
    assert.deepEqual(choose(snapshot, asked).reasons, { "lacks a label that was asked for (rack=7)": 1 });
  });

  it("takes no more than the administrator grants and the host leaves", () => {
    const node = aNode("a", { memoryBytes: 2 * GIB, reservedMemoryBytes: 1536 * MIB });
    assert.equal(place([node]).chosen, undefined);
    const capped = aNode("a");
    assert.equal(place([{ ...capped, spec: { ...capped.spec, maxMemory: "512Mi" } }]).chosen, undefined);
    const few = { ...capped, spec: { ...capped.spec, maxMachines: 1 } };
    assert.equal(place([few]).chosen?.name, "a");
    assert.deepEqual(place([few], { on: { a: [bound("a", "64Mi")] } }).reasons, { "too many machines": 1 });
    const liar = aNode("a", { cpus: 1_000_000, memoryBytes: 1024 ** 5 });
    const granted = { ...liar, spec: { ...liar.spec, maxCpus: 1, maxMemory: "1Gi" } };
    assert.deepEqual(place([granted], { spec: aSpec({ guest: "2Gi" }) }).reasons, { "too little free memory": 1 });
  });

  it("does not begin with an empty disk where the machine has one with data", () => {
    const spec = aSpec();
    const snapshot = takeSnapshot([aNode("a")], { loadOn: () => ({ machines: 0, memoryBytes: 0, cpus: 0, inbound: 0, outbound: 0 }) });
    const { chosen, reasons } = choose(snapshot, { instance: spec, hardware: undefined, demand: demandOf(spec), purpose: "start", disks: [{ pool: "shared", poolIds: ["another"] }] });
    assert.equal(chosen, undefined);
    assert.deepEqual(reasons, { "does not have the machine's disk": 1 });
  });
});

describe("the hardware of a first start", () => {
  const resolve = (reports: Partial<NodeReport>[], spec: InstanceSpec = aSpec()) => {
    const nodes = reports.map((report, index) => aNode(`node-${index}`, report));
    return resolveHardware(spec, { chosen: nodes[0]!, nodes, held: undefined });
  };

  it("is the best that every eligible node has", () => {
    const hardware = resolve([{ cpuModels: ["Skylake-Server", "Haswell", "qemu64"] }, { cpuModels: ["Haswell", "Nehalem", "qemu64"], machineTypes: ["pc-q35-7.1"], machineAliases: { q35: "pc-q35-7.1" } }]);
    assert.equal(hardware.cpuModel, "Haswell");
    assert.equal(hardware.machineType, "pc-q35-7.1");
  });

  it("counts nodes that are cordoned at the moment, and not those that cannot run the machine", () => {
    const nodes = [aNode("a", { cpuModels: ["Skylake-Server", "Nehalem"] }), cordoned(aNode("b", { cpuModels: ["Nehalem"] })), aNode("c", { cpuModels: ["Conroe"], pools: [] })];
    assert.equal(resolveHardware(aSpec(), { chosen: nodes[0]!, nodes, held: undefined }).cpuModel, "Nehalem");
  });

  it("is the same on every emulating node", () => {
    assert.equal(resolve([{ kvm: KvmState.NOT_RUN, allowEmulation: true, cpuModels: ["Haswell", "qemu64"] }]).cpuModel, "qemu64");
  });

  it("is kept for later runs, except for what the spec names itself", () => {
    const frozen = FrozenHardware.create({ cpuModel: "Haswell", machineType: "pc-q35-7.1", macAddresses: { net: "02:00:00:00:00:01" } });
    assert.equal(frozenFor(aSpec(), frozen)?.machineType, "pc-q35-7.1");
    const spec = aSpec();
    const other = { ...spec, domain: { ...spec.domain, machine: { type: "pc" } } };
    assert.equal(frozenFor(other, frozen)?.machineType, "");
    assert.equal(frozenFor(aSpec(), undefined), undefined);
  });
});
