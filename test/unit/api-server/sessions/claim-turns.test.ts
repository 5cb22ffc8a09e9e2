/** Two machines that fit a node one by one and not together, claimed at the same moment. */
import assert from "node:assert/strict";
import { Node } from "../../../../gen/drover/v1/node.ts";
import { DomainState, Phase, VirtualMachineInstance } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstanceStatus } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import type { DeepPartial } from "../../../../gen/drover/v1/virtual_machine.ts";
import { keyOf } from "../../../../api-server/kinds/kind.ts";
import { nodes, virtualMachineInstances } from "../../../../api-server/kinds/table.ts";
import { ClaimTurns } from "../../../../api-server/sessions/claim-turns.ts";
import { claim } from "../../../../api-server/subresources/claim.ts";
import { admin, callBy, makeObjects } from "../fixture.ts";
import { BOOT } from "../subresources/records.ts";

const MIB = 1024 ** 2;
/** A guest of 100 MiB with one processor and a screen: 100 + 1 + 50 + 8 + 8 + 32, the page tables rounded up by bytes. */
const ONE_BYTES = 100 * MIB + Math.ceil((100 * MIB) / 512) + (50 + 8 + 8 + 32) * MIB;

describe("claims of one node", () => {
  async function fleet({ memoryBytes, maxMemory = "", cpus = 64, ratio = 0 }: { memoryBytes: number; maxMemory?: string; cpus?: number; ratio?: number }) {
    const { objects } = await makeObjects();
    await objects.create(nodes, Node.create({ metadata: { name: "a" }, spec: { maxMemory, cpuAllocationRatio: ratio }, status: { report: { memoryBytes, reservedMemoryBytes: MIB, cpus } } }), callBy(admin));
    const assigned: VirtualMachineInstance[] = [];
    const turns = new ClaimTurns({ objects, assigned: () => assigned });
    const add = async (name: string, status: DeepPartial<VirtualMachineInstanceStatus> = {}) => {
      const spec = { domain: { memory: { guest: "100Mi" } } };
      const vmi = VirtualMachineInstance.create({ metadata: { name }, spec, status: { phase: Phase.SCHEDULED, nodeName: "a", epoch: 1, lastGrantedEpoch: 1, ...status } });
      const made = await objects.create(virtualMachineInstances, vmi, callBy(admin));
      assigned.push(made);
      return made;
    };
    const take = (vmi: VirtualMachineInstance) => {
      const claiming = { nodeName: "a", vmiUid: vmi.metadata!.uid, epoch: 1, boot: BOOT, agentInstance: "agent", volumes: [] };
      return turns.take(vmi, "a", () => objects.change(virtualMachineInstances, keyOf(vmi), (current) => claim(current, claiming), callBy(admin)));
    };
    const outcome = async (vmi: VirtualMachineInstance) => {
      try {
        return (await take(vmi)).status?.claim?.nodeName;
      } catch (error) {
        return (error as { info?: { reason: string } }).info?.reason ?? error;
      }
    };
    return { add, outcome };
  }

  const claimed = { claim: { nodeName: "a", epoch: 1, boot: BOOT, agentInstance: "agent" } };
  const arriving = { nodeName: "b", migration: { uid: "m", sourceNode: "b", targetNode: "a" } };

  it("are refused when the processors are given, ten machines of one to each processor unless the node says otherwise", async () => {
    for (const [ratio, taken] of [[0, 10], [2, 2]] as const) {
      const { add, outcome } = await fleet({ memoryBytes: 64 * 1024 * MIB, cpus: 1, ratio });
      for (let index = 0; index < taken; index += 1) assert.equal(await outcome(await add(`web-${index}`)), "a");
      assert.equal(await outcome(await add("late")), "NO_CAPACITY");
    }
  });

  it("pass one by one, so that memory for one is given once", async () => {
    const { add, outcome } = await fleet({ memoryBytes: MIB + 2 * ONE_BYTES - 1 });
    const both = [await add("one"), await add("two")];
    assert.deepEqual(await Promise.all(both.map(outcome)), ["a", "NO_CAPACITY"]);
  });

  it("both pass where both fit", async () => {
    const { add, outcome } = await fleet({ memoryBytes: MIB + 2 * ONE_BYTES });
    const both = [await add("one"), await add("two")];
    assert.deepEqual(await Promise.all(both.map(outcome)), ["a", "a"]);
  });

  const cases: [string, DeepPartial<VirtualMachineInstanceStatus>, string][] = [
    ["claimed", claimed, "NO_CAPACITY"],
    ["on its way here", arriving, "NO_CAPACITY"],
    ["only bound", {}, "a"],
    ["claimed and gone", { ...claimed, ownerReport: { state: DomainState.GONE, nodeName: "a", epoch: 1 } }, "a"],
    ["moved here, and counted once", { ...claimed, migration: { ...arriving.migration, handedOff: true } }, "NO_CAPACITY"],
  ];
  for (const [name, status, expected] of cases) {
    it(`beside one that is ${name}: ${expected}`, async () => {
      const { add, outcome } = await fleet({ memoryBytes: MIB + 2 * ONE_BYTES - 1 });
      await add("other", status);
      assert.equal(await outcome(await add("web")), expected);
    });
  }

  it("stay below what the administrator grants", async () => {
    const { add, outcome } = await fleet({ memoryBytes: 8 * 1024 * MIB, maxMemory: "100Mi" });
    assert.equal(await outcome(await add("web")), "NO_CAPACITY");
  });

  it("come through after one before them failed", async () => {
    const { add, outcome } = await fleet({ memoryBytes: MIB + ONE_BYTES });
    const ended = await add("ended", { phase: Phase.FAILED });
    const both = [ended, await add("web")];
    assert.deepEqual(await Promise.all(both.map(outcome)), ["NOT_BOUND", "a"]);
  });
});
