/** T3: an agent that makes its host look larger or different than it is, so that machines come to it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { writeFileSync } from "node:fs";
import { stringify } from "yaml";
import { ConditionStatus } from "../../gen/drover/v1/meta.ts";
import { KvmState } from "../../gen/drover/v1/node.ts";
import { VirtualMachineServiceDefinition } from "../../gen/drover/v1/virtual_machine.ts";
import { connect } from "../../lib/client.ts";
import { EVERYTHING, ONCE } from "../contract/auth-server.ts";
import { REPOSITORY } from "../lab/guest.ts";
import { Program, waitFor } from "../lab/process.ts";
import { within } from "./descriptors.ts";
import { machineOf, nodeOf, nodeReportOf, startInstalled } from "./server.ts";
import type { Host, Installed } from "./server.ts";

const PIB = 1024 ** 5;
const LIE = { cpus: 1_000_000, memoryBytes: PIB, kvm: KvmState.VERIFIED, cpuModels: ["qemu64"], machineTypes: ["pc-q35-7.2"], machineAliases: { q35: "pc-q35-7.2" }, hostPassthrough: true, maximum: true, allowEmulation: true };

describe("T3: an agent that lures machines", function () {
  this.timeout(60_000);
  let server: Installed;
  let controller: Program;
  let host: Host;
  before(async () => {
    server = await startInstalled();
    host = await server.host("liar");
    const node = await nodeOf(server, "liar");
    await server.admin.nodes.updateNode({ ...ONCE, node: { ...node, spec: { ...node.spec!, maxCpus: 4, maxMemory: "256Mi" } }, updateMask: ["spec"] });
    await host.client.report(nodeReportOf(host.agent, LIE));
    const config = join(server.directory, "controller.yaml");
    writeFileSync(config, stringify({ server: `unix://${server.unix}`, logLevel: "debug" }));
    controller = await Program.start({ command: process.execPath, args: [join(REPOSITORY, "controller/main.ts"), "--config", config], logFile: join(server.directory, "log/controller") });
  });
  after(async () => {
    await controller?.stop();
    await server?.[Symbol.asyncDispose]();
  });

  const started = async (name: string, guest: string) => {
    await server.admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: machineOf(name, { spec: { domain: { memory: { guest } } } }) });
    await server.admin.machines.startVirtualMachine({ namespace: "default", name, ...ONCE });
  };
  const instanceOf = async (name: string) => (await server.admin.instances.getVirtualMachineInstance({ namespace: "default", name }).catch(() => undefined))?.virtualMachineInstance;

  it("gets no machine beyond what the administrator granted it, and is told on", async () => {
    await started("large", "512Mi");
    await started("small", "64Mi");
    const placed = await waitFor("the small one to be placed", async () => (await instanceOf("small"))?.status?.nodeName || undefined);
    assert.equal(placed, "liar");
    const scheduled = await waitFor("a word about the large one", async () => (await instanceOf("large"))?.status?.conditions.find(({ type }) => type === "Scheduled"));
    assert.equal(scheduled.status, ConditionStatus.FALSE);
    assert.match(scheduled.message, /memory/i);
    assert.equal((await instanceOf("large"))!.status!.nodeName, "");
    const { events } = await server.admin.events.listEvents({ ...EVERYTHING, fieldSelector: "reason=ReportExceedsCap" });
    assert.match(events[0]!.message, /1000000 processors where 4 are granted/);
  });

  it("has no way to say what placement goes by: no label, no taint, no spec", async () => {
    const sayable = within("drover.v1.NodeReport").map(({ name }) => name);
    assert.deepEqual(sayable.filter((name) => /label|taint|annotation|spec|schedulable|max_|owner/.test(name)), []);
    const before = await nodeOf(server, "liar");
    await host.client.report(nodeReportOf(host.agent, { ...LIE, hostname: "zone=a", networks: ["zone=a"] }, 200));
    const { metadata, spec } = await nodeOf(server, "liar");
    assert.deepEqual([metadata!.labels, metadata!.annotations, spec], [before.metadata!.labels, before.metadata!.annotations, before.spec]);
    await server.admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: machineOf("picky", { spec: { domain: { memory: { guest: "16Mi" } }, nodeSelector: { zone: "a" } } }) });
    await server.admin.machines.startVirtualMachine({ namespace: "default", name: "picky", ...ONCE });
    const scheduled = await waitFor("a word about the picky one", async () => (await instanceOf("picky"))?.status?.conditions.find(({ type }) => type === "Scheduled"));
    assert.equal(scheduled.status, ConditionStatus.FALSE);
  });

  it("cannot uncordon itself, nor make machines of its own", async () => {
    await server.admin.nodes.cordonNode({ ...ONCE, name: "liar" });
    await host.client.report(nodeReportOf(host.agent, LIE, 300));
    assert.equal((await nodeOf(server, "liar")).spec!.unschedulable, true);
    using connection = connect({ server: server.addresses.agents, tls: host.files.agent });
    await assert.rejects(connection.client(VirtualMachineServiceDefinition).createVirtualMachine({ ...ONCE, virtualMachine: machineOf("own") }), /UNIMPLEMENTED|PERMISSION_DENIED/);
  });
});
