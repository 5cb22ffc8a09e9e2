/** When the firmware variables of a machine go, and when they must not. */
import assert from "node:assert/strict";
import type { LookupMachineResponse } from "../../../../gen/drover/agent/v1/agent.ts";
import { silentLog } from "../../../../lib/log.ts";
import { LeftoverVariables } from "../../../../node-agent/machine/leftover-variables.ts";
import { instance } from "../fixture.ts";

const owner = { namespace: "default", vm: "web", vmUid: "vm-1" };
const gone: LookupMachineResponse = { instance: undefined, tombstone: false, lastEpoch: 0, storeId: "store", volumes: [] };

/** What is left after these answers, one sweep each; an error is an answer that did not come. */
async function left(answers: readonly (LookupMachineResponse | Error)[], { isHere = false } = {}): Promise<string[]> {
  const kept = new Map([[owner.vmUid, owner]]);
  let turn = 0;
  const leftovers = new LeftoverVariables({
    storage: { firmwareVariables: { owners: async () => [...kept.values()], remove: async (vmUid) => void kept.delete(vmUid) } },
    controlPlane: {
      lookUp: async ({ namespace, vmName, vmUid }) => {
        assert.deepEqual({ namespace, vm: vmName, vmUid }, owner);
        const answer = answers[turn]!;
        if (answer instanceof Error) throw answer;
        return answer;
      },
    },
    storeId: () => "store",
    isHere: () => isHere,
    log: silentLog,
  });
  for (; turn < answers.length; turn += 1) await leftovers.sweep().catch(() => undefined);
  return [...kept.keys()];
}

describe("firmware variables", () => {
  it("go when the machine was found to be gone twice", async () => {
    assert.deepEqual(await left([gone]), ["vm-1"]);
    assert.deepEqual(await left([gone, gone]), []);
  });

  const kept: [string, Parameters<typeof left>][] = [
    ["the machine is on record", [[{ ...gone, lastEpoch: 3 }, { ...gone, lastEpoch: 3 }]]],
    ["a run of it is on record", [[{ ...gone, instance: instance() }, { ...gone, instance: instance() }]]],
    ["something of it is on this node", [[gone, gone], { isHere: true }]],
    ["another store answers", [[{ ...gone, storeId: "other", volumes: [] }, { ...gone, storeId: "other", volumes: [] }]]],
    ["it was there in between", [[gone, { ...gone, lastEpoch: 1 }, gone]]],
    ["nobody answers", [[gone, new Error("unreachable"), new Error("unreachable")]]],
  ];
  for (const [what, scene] of kept) it(`stay when ${what}`, async () => assert.deepEqual(await left(...scene), ["vm-1"]));

  it("go though another machine has the name by now", async () => {
    const other = instance();
    other.metadata!.ownerReferences[0]!.uid = "vm-2";
    assert.deepEqual(await left([{ ...gone, instance: other }, { ...gone, instance: other }]), []);
  });
});
