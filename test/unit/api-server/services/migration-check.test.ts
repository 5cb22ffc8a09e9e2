/** CheckMigration by its own client, with agents that answer, lie, refuse and stay silent. */
import assert from "node:assert/strict";
import { Status } from "nice-grpc";
import { AddressProbe, CpuComparison, CpuDefinition, MachineInspection, ProbeOutcome } from "../../../../gen/drover/agent/v1/agent.ts";
import type { CompareCpu } from "../../../../gen/drover/agent/v1/agent.ts";
import type { CheckMigrationResponse } from "../../../../gen/drover/v1/migration.ts";
import { NodePool } from "../../../../gen/drover/v1/node.ts";
import type { NodeReport } from "../../../../gen/drover/v1/node.ts";
import { CheckReason, CheckVerdict, ForecastBasis } from "../../../../gen/drover/v1/preflight.ts";
import { RunStrategy, VirtualMachine } from "../../../../gen/drover/v1/virtual_machine.ts";
import { answering, named, passing, refused, runningOn, serve } from "../sessions/serving.ts";
import type { Answers } from "../sessions/serving.ts";

type Server = Awaited<ReturnType<typeof serve>>;
const MIB = 1024 ** 2;
const CPU = CpuDefinition.create({ model: "qemu64", features: [{ name: "lahf_lm", policy: "require" }] });
const HOST: Partial<NodeReport> = {
  hypervisorConnected: true, allowEmulation: true, machineTypes: ["pc-q35-7.2"], machineAliases: { q35: "pc-q35-7.2" }, cpuModels: ["qemu64"],
  pools: [NodePool.create({ name: "default", id: "pool-1" })], migrationAddress: "192.0.2.7", migrationAuthorities: ["aa"],
};
const inspected = (fields: Partial<MachineInspection> = {}) =>
  ({ machine: MachineInspection.create({ cpu: CPU, domainType: "qemu", machineType: "pc-q35-7.2", architecture: "x86_64", dirtyBytesPerSecond: MIB, ...fields }) });
const good: Answers = {
  inspectMachine: () => inspected(),
  compareCpu: () => ({ cpu: CpuComparison.create({ compatible: true }) }),
  probeAddress: () => ({ probe: AddressProbe.create({ outcome: ProbeOutcome.ANSWERED }) }),
};

type Given = Partial<Parameters<typeof answering>[2]>;
const host = (server: Server, name: string, { answers = good, facts = {} }: Given) => answering(server, name, { answers, facts: { ...HOST, ...facts } });

/** A machine that runs on "a", which is a host as given; "b" is another. */
async function fleet(server: Server, a: Given = {}, b: Given = {}) {
  const source = await host(server, "a", a);
  const target = await host(server, "b", b);
  const vmi = await runningOn(server, source, "a");
  return { source, target, vmi };
}

const check = (server: Server, fields = {}) => server.migrations.checkMigration({ ...named, targetNode: "", addedNodeSelector: {}, ...fields });

function reasonsOf({ candidates }: CheckMigrationResponse, node: string): [string, number, number][] {
  const found = candidates.find((candidate) => candidate.node === node)!.checks.filter(({ verdict }) => verdict !== CheckVerdict.PASS);
  return found.map(({ name, verdict, reason }) => [name, verdict, reason]);
}

describe("CheckMigration", function () {
  this.timeout(20_000);

  it("names the target, what it asked of whom, and what the move would take", async () => {
    await using server = await serve();
    const { source, target } = await fleet(server);
    const answer = await check(server);
    assert.deepEqual([answer.chosenNode, answer.message, answer.warnings], ["b", "", []]);
    assert.deepEqual(reasonsOf(answer, "a"), [["source", CheckVerdict.BLOCK, CheckReason.IS_SOURCE]]);
    assert.deepEqual(reasonsOf(answer, "b"), []);
    const [, b] = answer.candidates;
    assert.equal(b!.verdict, CheckVerdict.PASS);
    assert.equal(b!.forecast!.basis, ForecastBasis.MEASURED);
    assert.equal(b!.forecast!.converges, true);
    assert.ok(b!.forecast!.durationMs > b!.forecast!.downtimeMs && b!.forecast!.downtimeMs > 0);
    assert.deepEqual(source.asked.map(({ $case }) => $case).toSorted(), ["inspectMachine", "probeAddress"]);
    const [{ $case, value }] = target.asked as [{ $case: string; value: CompareCpu }];
    assert.deepEqual([$case, value.domainType, value.machineType, value.architecture, value.cpu!.model, value.cpu!.features[0]!.name], ["compareCpu", "qemu", "pc-q35-7.2", "x86_64", "qemu64", "lahf_lm"]);
  });

  const broken: [string, { a?: Answers; b?: Answers; facts?: Partial<NodeReport> }, [string, CheckVerdict, CheckReason][], string][] = [
    ["a processor that lacks something", { b: { compareCpu: () => ({ cpu: CpuComparison.create({ compatible: false, message: "avx512f\u0007" }) }) } }, [["cpu", CheckVerdict.BLOCK, CheckReason.CPU_INCOMPATIBLE]], ""],
    ["no way", { a: { probeAddress: () => ({ probe: AddressProbe.create({ outcome: ProbeOutcome.NO_ROUTE, message: "EHOSTUNREACH" }) }) } }, [["reach", CheckVerdict.BLOCK, CheckReason.UNREACHABLE]], ""],
    ["a firewall", { a: { probeAddress: () => ({ probe: AddressProbe.create({ outcome: ProbeOutcome.SILENT }) }) } }, [["reach", CheckVerdict.WARN, CheckReason.NOT_KNOWN]], "b"],
    ["a source that cannot say", { a: { inspectMachine: () => ({ error: "libvirt is away" }) } }, [["cpu", CheckVerdict.WARN, CheckReason.NOT_KNOWN]], "b"],
    ["an agent of an older version", { b: { compareCpu: () => ({ error: "does not know the command" }) } }, [["cpu", CheckVerdict.WARN, CheckReason.NOT_KNOWN]], "b"],
    ["a node without a migration address", { facts: { migrationAddress: "", migrationBlocker: "not configured" } }, [["migration-setup", CheckVerdict.BLOCK, CheckReason.MIGRATION_NOT_CONFIGURED]], ""],
    ["another authority", { facts: { migrationAuthorities: ["bb"] } }, [["authority", CheckVerdict.BLOCK, CheckReason.AUTHORITY_DIFFERS]], ""],
    ["too little memory", { facts: { memoryBytes: 64 * MIB } }, [["memory", CheckVerdict.BLOCK, CheckReason.MEMORY]], ""],
    ["a guest that changes more than can be sent", { a: { inspectMachine: () => inspected({ dirtyBytesPerSecond: 400 * MIB }) } }, [["convergence", CheckVerdict.WARN, CheckReason.DOES_NOT_CONVERGE]], "b"],
  ];
  for (const [name, { a = {}, b = {}, facts = {} }, expected, chosen] of broken) {
    it(`${name}: ${chosen === "" ? "no target" : "a warning"}`, async () => {
      await using server = await serve();
      await fleet(server, { answers: { ...good, ...a } }, { answers: { ...good, ...b }, facts });
      const answer = await check(server);
      assert.deepEqual(reasonsOf(answer, "b"), expected);
      assert.equal(answer.chosenNode, chosen);
      assert.equal(answer.message === "", chosen !== "");
      assert.equal(answer.warnings.length > 0, chosen !== "");
      assert.ok(!JSON.stringify(answer).includes("\\u0007"));
    });
  }

  it("waits three seconds for who is silent, and for nobody longer", async () => {
    await using server = await serve();
    const { inspectMachine: _, ...mute } = good;
    await fleet(server, { answers: mute });
    const answer = await passing(server, check(server));
    assert.deepEqual(answer.checks.filter(({ verdict }) => verdict !== CheckVerdict.PASS).map(({ name, reason }) => [name, reason]), [["host-devices", CheckReason.NOT_KNOWN]]);
    assert.deepEqual(reasonsOf(answer, "b"), [["cpu", CheckVerdict.WARN, CheckReason.NOT_KNOWN]]);
    assert.equal(answer.chosenNode, "b");
    assert.equal(answer.candidates.find(({ node }) => node === "b")!.forecast!.basis, ForecastBasis.ASSUMED);
  });

  it("says of a machine with a host's device that it cannot move, wherever to", async () => {
    await using server = await serve();
    await fleet(server, { answers: { ...good, inspectMachine: () => inspected({ hostDevices: ["pci"] }) } });
    const answer = await check(server);
    assert.equal(answer.checks.find(({ name }) => name === "host-devices")!.reason, CheckReason.HOST_DEVICE);
    assert.deepEqual([answer.chosenNode, answer.message], ["", "The running domain has devices of its host: pci"]);
  });

  it("speaks of the named target alone, and of labels that were asked for", async () => {
    await using server = await serve();
    await fleet(server);
    const named = await check(server, { targetNode: "a" });
    assert.deepEqual([named.candidates.map(({ node }) => node), named.chosenNode], [["a"], ""]);
    const nobody = await check(server, { targetNode: "zebra" });
    assert.deepEqual([nobody.candidates, nobody.message], [[], 'No node is named "zebra"']);
    const labelled = await check(server, { addedNodeSelector: { rack: "7" } });
    assert.deepEqual(reasonsOf(labelled, "b"), [["added-node-selector", CheckVerdict.BLOCK, CheckReason.ADDED_LABEL_MISSING]]);
    assert.match(labelled.message, /0\/2 nodes fit: .*lacks a label that was asked for \(rack=7\)/);
  });

  it("refuses what is not there, and what is badly asked", async () => {
    await using server = await serve();
    await refused(check(server), Status.NOT_FOUND);
    await server.vms.createVirtualMachine({
      virtualMachine: VirtualMachine.create({ metadata: { name: "web" }, spec: { runStrategy: RunStrategy.MANUAL, template: { spec: { domain: { memory: { guest: "128Mi" } } } } } }), requestId: "", validateOnly: false,
    });
    await refused(check(server), Status.FAILED_PRECONDITION, /has no run/);
    await refused(check(server, { name: "" }), Status.INVALID_ARGUMENT, /name/);
    await refused(check(server, { targetNode: "x".repeat(254) }), Status.INVALID_ARGUMENT, /target_node/);
  });
});
