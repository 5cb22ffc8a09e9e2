import assert from "node:assert/strict";
import { KvmState, NodePool } from "../../../../gen/drover/v1/node.ts";
import { nodeReport, reportChanged } from "../../../../node-agent/inventory/node-report.ts";
import type { Seen } from "../../../../node-agent/inventory/node-report.ts";
import type { HostInventory } from "../../../../node-agent/libvirt/hypervisor.ts";

export const HOST: HostInventory = {
  hostname: "a",
  architecture: "x86_64",
  libvirtVersion: "9.0.0",
  hypervisorVersion: "7.2.0",
  emulator: "/usr/bin/qemu-system-x86_64",
  cpus: 2,
  memoryBytes: 1 << 30,
  domainTypes: ["qemu"],
  machineTypes: ["pc-q35-7.2", "pc-i440fx-7.2"],
  machineAliases: { q35: "pc-q35-7.2", pc: "pc-i440fx-7.2" },
  cpuModels: { domainType: "qemu", usable: ["qemu64", "kvm64"], hostModel: "EPYC", hostPassthrough: false, maximum: true },
  networks: ["lan"],
};
const GIBIBYTE = 2 ** 30;
const pool = (change: Partial<NodePool> = {}) => NodePool.create({ name: "main", id: "1", capacityBytes: 100 * GIBIBYTE, availableBytes: 50 * GIBIBYTE, ...change });
const SETTINGS = { reservedMemoryBytes: 512, allowEmulation: true, migrationBlocker: "", migrationAddress: "10.0.0.1", migrationAuthorities: ["aa"] };
const report = (change: Partial<Seen> = {}) =>
  nodeReport(
    { host: HOST, hypervisorFault: undefined, hostname: "a", kvm: { state: KvmState.FAILED, message: "no" }, pools: [pool()], bridges: ["br1", "br0"], foreignDomains: [], ...change },
    SETTINGS,
  );

describe("nodeReport", () => {
  it("tells what was seen, in one order", () => {
    const { machineTypes, cpuModels, bridges, hostCpuModel, kvm, allowEmulation, hypervisorConnected } = report();
    assert.deepEqual(
      { machineTypes, cpuModels, bridges, hostCpuModel, kvm, allowEmulation, hypervisorConnected },
      {
        machineTypes: ["pc-i440fx-7.2", "pc-q35-7.2"], cpuModels: ["kvm64", "qemu64"], bridges: ["br0", "br1"], hostCpuModel: "EPYC",
        kvm: KvmState.FAILED, allowEmulation: true, hypervisorConnected: true,
      },
    );
  });

  it("keeps what libvirt told while libvirt is away, and says that it is", () => {
    const away = report({ hypervisorFault: "gone" });
    assert.deepEqual([away.hypervisorConnected, away.hypervisorMessage, away.cpus], [false, "gone", 2]);
    const never = report({ host: undefined, hypervisorFault: "gone" });
    assert.deepEqual([never.hypervisorConnected, never.cpus, never.pools.length], [false, 0, 1]);
  });

  it("is bounded", () => {
    const names = Array.from({ length: 500 }, (_, index) => `vm${index}`);
    const { foreignDomains, hypervisorMessage } = report({ foreignDomains: names, hypervisorFault: "x".repeat(5000) });
    assert.equal(foreignDomains.length, 100);
    assert.equal(hypervisorMessage.length, 1024);
  });
});

describe("reportChanged", () => {
  const HOUR_MS = 3_600_000;

  it("is true of the first one and false of an equal one", () => {
    assert.equal(reportChanged(undefined, report(), 0), true);
    assert.equal(reportChanged(report(), { ...report(), generation: 9 }, HOUR_MS), false);
    const aliases = { ...HOST, machineAliases: { pc: "pc-i440fx-7.2", q35: "pc-q35-7.2" } };
    assert.equal(reportChanged(report(), report({ host: aliases }), HOUR_MS), false);
  });

  const changes: [string, Partial<Seen>][] = [
    ["a pool's error", { pools: [pool({ error: "gone" })] }],
    ["a pool's id", { pools: [pool({ id: "2" })] }],
    ["another pool", { pools: [pool(), pool({ name: "more" })] }],
    ["libvirt's loss", { hypervisorFault: "gone" }],
    ["a bridge", { bridges: ["br0"] }],
    ["a foreign domain", { foreignDomains: ["x"] }],
    ["the canary's verdict", { kvm: { state: KvmState.VERIFIED, message: "" } }],
    ["the host", { host: { ...HOST, cpus: 4 } }],
  ];
  for (const [what, change] of changes) {
    it(`is true at once of ${what}`, () => assert.equal(reportChanged(report(), report(change), 0), true));
  }

  it("minds free space only when much of it moved, and once a minute", () => {
    const free = (gibibytes: number) => report({ pools: [pool({ availableBytes: gibibytes * GIBIBYTE })] });
    assert.equal(reportChanged(free(50), free(46), HOUR_MS), false);
    assert.equal(reportChanged(free(50), free(45), HOUR_MS), true);
    assert.equal(reportChanged(free(50), free(55), HOUR_MS), true);
    assert.equal(reportChanged(free(50), free(0), 59_999), false);
    assert.equal(reportChanged(free(50), free(0), 60_000), true);
  });
});
