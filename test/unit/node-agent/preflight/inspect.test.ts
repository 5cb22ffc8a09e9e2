/** What an agent says of a machine before a move: its CPU in checked words, its host's devices, its load as far as it is known. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { CpuDefinition, ProbeOutcome } from "../../../../gen/drover/agent/v1/agent.ts";
import { systemClock } from "../../../../lib/clock.ts";
import type { Clock } from "../../../../lib/clock.ts";
import { parseXml } from "../../../../node-agent/door/xml-tree.ts";
import { HypervisorError } from "../../../../node-agent/libvirt/hypervisor.ts";
import { answer } from "../../../../node-agent/commands.ts";
import { cpuOf, cpuXml } from "../../../../node-agent/preflight/cpu.ts";
import { NotAnAddress, probeAddress } from "../../../../node-agent/preflight/probe.ts";
import { instanceMetadata } from "../../../../node-agent/domain/metadata.ts";
import { FakeHypervisor } from "../fake-hypervisor.ts";
import { UUID } from "../fixture.ts";

const LIVE = `<domain type='qemu'><name>x</name><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <cpu mode='custom' match='exact' check='full'><model fallback='forbid'>qemu64</model><vendor>AMD</vendor>
    <feature policy='require' name='lahf_lm'/><feature policy='disable' name='svm'/><feature policy='force' name='x'/></cpu>
  <devices><hostdev mode='subsystem' type='pci'/><interface type='hostdev'/><interface type='bridge'/></devices></domain>`;
/** A second is over at once. */
const now: Clock = { ...systemClock, after: (_, run) => systemClock.after(0, run) };

function tools({ metadata = instanceMetadata({ namespace: "default", vm: "web", vmUid: "vm-1", vmiUid: "vmi-1", epoch: 1, generation: 1 }), xml = LIVE } = {}) {
  const hypervisor = new FakeHypervisor();
  hypervisor.put({ uuid: UUID, metadata, xml });
  const probe = (address: string) => probeAddress({ address, port: 1 }, systemClock);
  const act = () => Promise.reject(new Error("Nothing is to be done here"));
  return { hypervisor, emulator: () => Promise.resolve("/usr/bin/qemu"), probe, act, clock: now };
}
const inspect = { commandId: "1", action: { $case: "inspectMachine" as const, value: { vmiUid: "vmi-1", domainUuid: UUID } } };

describe("the CPU of a guest", () => {
  it("goes from one host's XML into another's, word by word", () => {
    const cpu = cpuOf(parseXml(LIVE))!;
    assert.deepEqual(cpu, CpuDefinition.create({ model: "qemu64", vendor: "AMD", features: [{ name: "lahf_lm", policy: "require" }, { name: "svm", policy: "disable" }] }));
    assert.deepEqual(cpuOf(parseXml(`<domain>${cpuXml(cpu)}</domain>`)), cpu);
  });

  it("is nothing where the domain names no model", () => {
    assert.equal(cpuOf(parseXml("<domain><cpu mode='host-passthrough'/></domain>")), undefined);
    assert.equal(cpuOf(parseXml("<domain/>")), undefined);
  });

  it("stays inside its attribute, whatever it holds", () => {
    const xml = cpuXml(CpuDefinition.create({ model: "</model><x/>", features: [{ name: "'/><x a='", policy: "require" }] }));
    assert.deepEqual(parseXml(xml).children.map((child) => typeof child !== "string" && child.name), ["model", "feature"]);
  });
});

describe("an inspection", () => {
  it("tells CPU, board, devices of the host and load", async () => {
    const { hypervisor, ...rest } = tools();
    hypervisor.load = { residentBytes: 5, dirtyBytesPerSecond: 7 };
    const { machine } = await answer({ hypervisor, ...rest }, inspect);
    assert.deepEqual([machine!.cpu!.model, machine!.domainType, machine!.machineType, machine!.architecture], ["qemu64", "qemu", "pc-q35-7.2", "x86_64"]);
    assert.deepEqual([machine!.hostDevices, machine!.residentBytes, machine!.dirtyBytesPerSecond], [["pci", "hostdev"], 5, 7]);
  });

  it("tells the rest where nothing can be measured", async () => {
    const { hypervisor, ...rest } = tools();
    hypervisor.faults.set("startDirtyRate", new HypervisorError("unsupported", "no"));
    const { machine } = await answer({ hypervisor, ...rest }, inspect);
    assert.deepEqual([machine!.cpu!.model, machine!.residentBytes, machine!.dirtyBytesPerSecond], ["qemu64", 0, undefined]);
  });

  it("gives up when the measure never comes", async () => {
    const { machine } = await answer(tools(), inspect);
    assert.equal(machine!.dirtyBytesPerSecond, undefined);
  });

  it("says nothing of a domain that is not the machine's", async () => {
    await assert.rejects(answer(tools({ metadata: "" }), inspect), HypervisorError);
    const other = { commandId: "1", action: { $case: "inspectMachine" as const, value: { vmiUid: "vmi-2", domainUuid: UUID } } };
    await assert.rejects(answer(tools(), other), HypervisorError);
  });

  it("asks libvirt with this host's emulator", async () => {
    const { hypervisor, ...rest } = tools();
    hypervisor.cpu = { compatible: false, message: "no avx" };
    const value = { cpu: CpuDefinition.create({ model: "Haswell" }), domainType: "kvm", machineType: "pc-q35-7.2", architecture: "x86_64" };
    const { cpu } = await answer({ hypervisor, ...rest }, { commandId: "1", action: { $case: "compareCpu", value } });
    assert.deepEqual([cpu!.compatible, cpu!.message, hypervisor.cpuAsked!.emulator, hypervisor.cpuAsked!.domainType], [false, "no avx", "/usr/bin/qemu", "kvm"]);
  });
});

describe("a probe", () => {
  it("takes a refusal for an answer, as well as an open port", async () => {
    // Every address of this network is this host's own, and nothing listens at the port.
    const own = Object.values(networkInterfaces()).flat().find((one) => one && !one.internal && one.family === "IPv4");
    if (!own) return;
    const { outcome, message } = await probeAddress({ address: own.address, port: 1 }, systemClock);
    assert.deepEqual([outcome, message], [ProbeOutcome.ANSWERED, "ECONNREFUSED"]);
    const server = createServer().listen(0, own.address);
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    assert.equal((await probeAddress({ address: own.address, port }, systemClock)).outcome, ProbeOutcome.ANSWERED);
    server.close();
  });

  it("ends after two seconds of silence, and says so", async () => {
    let waitedMs = 0;
    // Over before any network can have answered.
    const impatient: Clock = { ...systemClock, after: (delayMs, run) => ((waitedMs = delayMs), queueMicrotask(run), { cancel: () => undefined }) };
    const { outcome, message } = await probeAddress({ address: "192.0.2.1", port: 1 }, impatient);
    assert.deepEqual([outcome, message, waitedMs], [ProbeOutcome.SILENT, "no answer within 2000 ms", 2_000]);
  });

  it("asks no name, and not this host itself", () => {
    for (const address of ["localhost", "127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "ff02::1", ""]) {
      assert.throws(() => probeAddress({ address, port: 1 }, systemClock), NotAnAddress, address);
    }
  });
});
