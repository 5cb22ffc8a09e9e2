import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KvmState, NodePool } from "../../../../gen/drover/v1/node.ts";
import { hostBridges } from "../../../../node-agent/inventory/bridges.ts";
import { Inventory } from "../../../../node-agent/inventory/inventory.ts";
import { HypervisorError } from "../../../../node-agent/libvirt/hypervisor.ts";
import { HOST } from "./node-report.test.ts";

describe("Inventory", () => {
  it("goes on reporting while libvirt comes and goes", async () => {
    let fault: HypervisorError | undefined = new HypervisorError("connection-lost", "not there yet");
    const inventory = new Inventory({
      hypervisor: { inventory: () => (fault ? Promise.reject(fault) : Promise.resolve(HOST)) },
      storage: { pools: () => Promise.resolve([NodePool.create({ name: "main" })]) },
      settings: { reservedMemoryBytes: 0, allowEmulation: false, migrationBlocker: "not configured", migrationAddress: "10.0.0.1", migrationAuthorities: ["aa"] },
      kvm: () => ({ state: KvmState.NOT_RUN, message: "" }),
      foreignDomains: () => ["x"],
      bridges: () => Promise.resolve(["br0"]),
    });
    const seen = async () => {
      const { hypervisorConnected, hypervisorMessage, cpus, bridges } = await inventory.collect();
      return { hypervisorConnected, hypervisorMessage, cpus, bridges };
    };
    assert.deepEqual(await seen(), { hypervisorConnected: false, hypervisorMessage: "not there yet", cpus: 0, bridges: ["br0"] });
    fault = undefined;
    assert.deepEqual(await seen(), { hypervisorConnected: true, hypervisorMessage: "", cpus: 2, bridges: ["br0"] });
    fault = new HypervisorError("timeout", "hung");
    assert.deepEqual(await seen(), { hypervisorConnected: false, hypervisorMessage: "hung", cpus: 2, bridges: ["br0"] });
  });
});

describe("hostBridges", () => {
  it("tells bridges from other interfaces", async () => {
    const directory = await mkdtemp(join(tmpdir(), "drover-interfaces-"));
    try {
      for (const path of ["br0/bridge", "eth0/queues"]) await mkdir(join(directory, path), { recursive: true });
      await writeFile(join(directory, "bonding_masters"), "");
      assert.deepEqual(await hostBridges(directory), ["br0"]);
      assert.deepEqual(await hostBridges(join(directory, "none")), []);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
