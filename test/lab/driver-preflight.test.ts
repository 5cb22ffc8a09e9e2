/** What the driver is asked before a move, on real daemons and guests: whether a CPU fits, and how busy a guest is with its memory. */
import assert from "node:assert/strict";
import { CpuDefinition } from "../../gen/drover/agent/v1/agent.ts";
import { parseXml } from "../../node-agent/door/xml-tree.ts";
import { HypervisorError } from "../../node-agent/libvirt/hypervisor.ts";
import { cpuOf, cpuXml } from "../../node-agent/preflight/cpu.ts";
import { DriverHost } from "./driver-host.ts";
import { guestDomainXml } from "./guest.ts";
import { Lab } from "./lab.ts";
import { waitFor } from "./process.ts";

const MIB = 1024 ** 2;

describe("the driver before a move", function () {
  this.timeout(120_000);
  let lab: Lab;
  let host: DriverHost;
  let emulator = "";

  before(async () => {
    lab = await Lab.start({ hosts: ["a"] });
    host = await DriverHost.connect(lab.host("a"));
    ({ emulator } = await host.hypervisor.inventory());
  });
  after(async () => {
    await host[Symbol.asyncDispose]();
    await lab[Symbol.asyncDispose]();
  });

  it("finds every processor feature that is missing, and takes the CPU of a guest that runs here", async () => {
    const [name, uuid] = ["asked", "7b9f3a10-0000-4000-8000-0000000000a1"];
    await host.hypervisor.launch({ uuid, name, xml: guestDomainXml({ name, uuid, guest: lab.guest, consoleLog: host.consoleLog(name) }) });
    await host.tick(name);
    const compare = (cpu: CpuDefinition) =>
      host.hypervisor.compareCpu({ cpuXml: cpuXml(cpu), emulator, architecture: "x86_64", machineType: "", domainType: "qemu" });

    const live = cpuOf(parseXml(await host.hypervisor.xml(uuid, "live")));
    assert.equal(live?.model, "qemu64");
    assert.deepEqual(await compare(live!), { compatible: true, message: "" });
    const newer = await compare(CpuDefinition.create({ model: "Skylake-Server" }));
    assert.equal(newer.compatible, false);
    assert.match(newer.message, /avx512f/);
    const more = await compare({ ...live!, features: [...live!.features, { name: "avx512f", policy: "require" }] });
    assert.equal(more.compatible, false);
    await assert.rejects(compare(CpuDefinition.create({ model: "nothing-of-that-name" })), HypervisorError);
  });

  it("measures in a second how much of its memory a guest changes", async () => {
    const uuid = "7b9f3a10-0000-4000-8000-0000000000a1";
    const before = await host.hypervisor.memoryLoad(uuid);
    assert.equal(before.dirtyBytesPerSecond, undefined);
    assert.ok(before.residentBytes! > 32 * MIB, `${before.residentBytes}`);
    await host.hypervisor.startDirtyRate(uuid, 1);
    const load = await waitFor("the measure", async () => {
      const now = await host.hypervisor.memoryLoad(uuid);
      return now.dirtyBytesPerSecond === undefined ? undefined : now;
    }, { timeoutMs: 5_000 });
    // It only counts seconds.
    assert.ok(load.dirtyBytesPerSecond! < 16 * MIB, `${load.dirtyBytesPerSecond}`);
    await assert.rejects(host.hypervisor.memoryLoad("7b9f3a10-0000-4000-8000-00000000dead"), HypervisorError);
    assert.deepEqual(host.faults, []);
  });
});
