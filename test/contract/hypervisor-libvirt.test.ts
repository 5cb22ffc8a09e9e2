/** The libvirt adapter, child process and all, on libvirt's own test driver. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { delay, systemClock } from "../../lib/clock.ts";
import { systemRandom } from "../../lib/random.ts";
import { childTransport } from "../../node-agent/libvirt/child-transport.ts";
import { Driver } from "../../node-agent/libvirt/driver.ts";
import { libvirtHypervisor, LibvirtHypervisor } from "../../node-agent/libvirt/libvirt-hypervisor.ts";
import { hypervisorContract } from "./hypervisor.ts";
import type { Subject } from "./hypervisor.ts";

const domainXml: Subject["domainXml"] = ({ name, uuid, metadata }) =>
  `<domain type="test"><name>${name}</name><uuid>${uuid}</uuid><memory>65536</memory><os><type>hvm</type></os><metadata>${metadata}</metadata></domain>`;

describe("the libvirt hypervisor on the test driver", () => {
  hypervisorContract(async () => {
    const faults: string[] = [];
    const hypervisor = libvirtHypervisor({
      uri: "test:///default", clock: systemClock, random: systemRandom, report: (fault) => faults.push(fault),
    });
    return { hypervisor, domainXml, faults };
  });

  it("serves many hosts, each with its own domains and events, from one child", async function () {
    this.timeout(30_000);
    const directory = await mkdtemp(join(tmpdir(), "drover-test-host-"));
    const faults: string[] = [];
    const driver = new Driver({ transport: childTransport(), clock: systemClock, random: systemRandom, report: (fault) => faults.push(fault) });
    try {
      const file = join(directory, "node.xml");
      await writeFile(file, "<node><cpu><mhz>2000</mhz><model>qemu64</model><active>4</active><nodes>1</nodes><sockets>1</sockets><cores>4</cores><threads>1</threads></cpu><memory>8388608</memory></node>");
      const hosts = Array.from({ length: 50 }, () => new LibvirtHypervisor({ uri: `test://${file}`, driver }));
      await Promise.all(hosts.map((host) => host.start(AbortSignal.timeout(20_000))));
      const uuids = await Promise.all(
        hosts.map((host, index) => host.define(domainXml({ name: `vm-${index}`, uuid: systemRandom.uuid(), metadata: "" }))),
      );
      const lists = await Promise.all(hosts.map((host) => host.list()));
      assert.deepEqual(lists.map((list) => list.map(({ uuid }) => uuid)), uuids.map((uuid) => [uuid]));
      assert.equal((await hosts[0]!.inventory()).cpus, 4);
      for (const host of hosts) await host.close();
    } finally {
      await driver.close();
      await rm(directory, { recursive: true });
    }
    assert.deepEqual(faults, []);
  });

  it("goes on trying, ever more slowly, while the driver cannot even start", async () => {
    const directory = await mkdtemp(join(tmpdir(), "drover-no-driver-"));
    const program = join(directory, "main.mjs");
    await writeFile(program, "process.exit(1);\n");
    const transport = childTransport({ program: pathToFileURL(program) });
    const driver = new Driver({ transport, clock: systemClock, random: systemRandom, report: assert.fail });
    const hypervisor = new LibvirtHypervisor({ uri: "test:///default", driver, ownsDriver: true });
    await assert.rejects(hypervisor.start(AbortSignal.timeout(1_000)), { name: "TimeoutError" });
    await hypervisor.close();
    await rm(directory, { recursive: true });
    const reasons = (await Array.fromAsync(hypervisor.events(new AbortController().signal))).map((event) => event.type === "disconnected" && event.reason);
    assert.ok(reasons.length >= 2);
    assert.deepEqual(new Set(reasons), new Set(["the driver ended: exit code 1"]));
  });

  const leavesNoDriver = (when: string) => async () => {
    const module = new URL("../../node-agent/libvirt/child-transport.ts", import.meta.url).href;
    const program = `import { childTransport } from ${JSON.stringify(module)};
      const say = () => process.stdout.write("now");
      childTransport().spawn({ message: ${when === "up" ? "say" : "() => undefined"}, exited() {} });
      ${when === "up" ? "" : "say();"}`;
    const agent = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "inherit"] });
    await once(agent.stdout, "data");
    const driverPid = readFileSync(`/proc/${agent.pid}/task/${agent.pid}/children`, "utf8").trim();
    assert.match(driverPid, /^[0-9]+$/);
    agent.kill("SIGKILL");
    for (let tries = 0; tries < 50 && isRunning(driverPid); tries += 1) await delay(systemClock, 100);
    assert.equal(isRunning(driverPid), false);
  };
  it("leaves no driver behind when the agent is killed", leavesNoDriver("up"));
  it("leaves none behind that the agent had only begun to start", leavesNoDriver("begun"));
});

/** A zombie nobody has waited for yet does not run. */
function isRunning(pid: string): boolean {
  const path = `/proc/${pid}/status`;
  return existsSync(path) && !/^State:\s+[ZX]/m.test(readFileSync(path, "utf8"));
}
