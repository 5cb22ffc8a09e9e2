import assert from "node:assert/strict";
import { VirtualMachineInstanceSpec } from "../../../../gen/drover/v1/machine.ts";
import { CheckReason, CheckVerdict } from "../../../../gen/drover/v1/preflight.ts";
import { InstanceMigration } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { demandOf } from "../../../../lib/capacity.ts";
import { booked, takeSnapshot } from "../../../../lib/preflight/candidate.ts";
import type { Candidate, Wanted } from "../../../../lib/preflight/candidate.ts";
import { candidateChecks, choose } from "../../../../lib/preflight/choose.ts";
import { loadsOf } from "../../../../lib/preflight/load.ts";
import { instance, node } from "../../api-server/subresources/records.ts";

const MIB = 1024 ** 2;
const spec = VirtualMachineInstanceSpec.create({ domain: { cpu: { model: "qemu64", cores: 2 }, memory: { guest: "512Mi" } } });
const wanted: Wanted = { instance: spec, demand: demandOf(spec), purpose: "migrate", sourceNode: node("a"), inboundPerNode: 2 };
const candidate = (name: string, fields: Partial<Candidate> = {}): Candidate =>
  ({ ...takeSnapshot([node(name)], { loadOn: loadsOf([]) })[0]!, ...fields });

describe("a candidate for a move", () => {
  const cases: [string, Candidate, Partial<Wanted>, [string, CheckVerdict, CheckReason][]][] = [
    ["fits", candidate("b"), {}, []],
    ["is the source", candidate("a"), {}, [["source", CheckVerdict.BLOCK, CheckReason.IS_SOURCE]]],
    ["is another than was asked for", candidate("b"), { targetNode: "c" }, [["target-node", CheckVerdict.BLOCK, CheckReason.NOT_ASKED_FOR]]],
    ["lacks a label", candidate("b"), { addedNodeSelector: { zone: "z" } }, [["added-node-selector", CheckVerdict.BLOCK, CheckReason.ADDED_LABEL_MISSING]]],
    ["has another disk of the name", candidate("b"), { disks: [{ pool: "default", poolIds: ["pool-9"] }] }, [["disk-data", CheckVerdict.BLOCK, CheckReason.DISK_ELSEWHERE]]],
    ["has one byte too few", candidate("b", { freeMemoryBytes: wanted.demand.memoryBytes - 1 }), {}, [["memory", CheckVerdict.BLOCK, CheckReason.MEMORY]]],
    ["has just enough memory", candidate("b", { freeMemoryBytes: wanted.demand.memoryBytes }), {}, []],
    ["has one processor too few", candidate("b", { freeCpus: 1 }), {}, [["processors", CheckVerdict.BLOCK, CheckReason.PROCESSORS]]],
    ["is full", candidate("b", { freePlaces: 0 }), {}, [["machines", CheckVerdict.BLOCK, CheckReason.MACHINES]]],
    ["is busy receiving", candidate("b", { inbound: 2 }), {}, [["inbound-slots", CheckVerdict.WARN, CheckReason.INBOUND_SLOTS]]],
    ["has a slot left", candidate("b", { inbound: 1 }), {}, []],
  ];
  for (const [name, one, fields, expected] of cases) {
    it(name, () => {
      const checks = candidateChecks(one, { ...wanted, ...fields });
      assert.deepEqual(checks.filter(({ verdict }) => verdict !== CheckVerdict.PASS).map(({ name: check, verdict, reason }) => [check, verdict, reason]), expected);
      assert.ok(checks.every(({ verdict, message }) => (verdict === CheckVerdict.PASS) === (message === "")));
    });
  }

  it("has every check by name, once, whatever it found", () => {
    const names = (one: Candidate) => candidateChecks(one, wanted).map(({ name }) => name);
    assert.deepEqual(names(candidate("b")), names(candidate("b", { freeMemoryBytes: 0, node: node("b", { spec: { unschedulable: true } }) })));
    assert.equal(new Set(names(candidate("b"))).size, names(candidate("b")).length);
  });
});

describe("a choice of several", () => {
  it("waits for nobody, unless it may", () => {
    const busy = [candidate("b", { inbound: 2 }), candidate("c", { inbound: 3 })];
    assert.deepEqual(choose(busy, wanted), { chosen: undefined, reasons: { "too many incoming migrations": 2 } });
    assert.equal(choose(busy, wanted, { patient: true }).chosen?.name, "b");
  });

  it("books what it gives away", () => {
    const room = wanted.demand.memoryBytes + 64 * MIB;
    let snapshot = [candidate("b", { freeMemoryBytes: room }), candidate("c", { freeMemoryBytes: room })] as readonly Candidate[];
    const names = [1, 2, 3].map(() => {
      const { chosen, reasons } = choose(snapshot, wanted);
      if (chosen) snapshot = booked(snapshot, chosen.name, wanted.demand);
      return chosen?.name ?? reasons;
    });
    assert.deepEqual(names, ["b", "c", { "too little free memory": 2 }]);
  });
});

describe("what others take", () => {
  it("is both nodes' while a machine moves, and the inbound slot is the target's", () => {
    const moving = instance({ status: { migration: InstanceMigration.create({ sourceNode: "a", targetNode: "b" }) } });
    const loadOn = loadsOf([moving, instance()]);
    assert.deepEqual([loadOn("a").machines, loadOn("a").outbound, loadOn("b").machines, loadOn("b").inbound, loadOn("c").machines], [2, 1, 1, 1, 0]);
  });
});
