/** The kill rule over its whole small space: who may be destroyed, and that missing information never kills. */
import assert from "node:assert/strict";
import type { LookupMachineResponse } from "../../../../gen/drover/agent/v1/agent.ts";
import { InstanceMigration } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { killVerdict } from "../../../../node-agent/machine/kill-rule.ts";
import type { InstanceIdentity } from "../../../../node-agent/machine/observed.ts";
import { instance } from "../fixture.ts";

const EPOCH = 5;
const identity: InstanceIdentity = { namespace: "default", vm: "web", vmUid: "vm-1", vmiUid: "vmi-1", epoch: EPOCH, generation: 1 };

const tombstones = [false, true];
const owners = ["", "me", "other"];
const epochs = [EPOCH - 1, EPOCH, EPOCH + 1];
const runs = ["same run", "later run of the machine", "another machine"] as const;
const migrations = ["none", "from here", "to here", "elsewhere"] as const;

type Case = { tombstone: boolean; record: undefined | { owner: string; epoch: number; run: (typeof runs)[number]; migration: (typeof migrations)[number] } };

function* cases(): Generator<Case> {
  for (const tombstone of tombstones) {
    yield { tombstone, record: undefined };
    for (const owner of owners) for (const epoch of epochs) for (const run of runs) for (const migration of migrations) {
      yield { tombstone, record: { owner, epoch, run, migration } };
    }
  }
}

function lookup({ tombstone, record }: Case): LookupMachineResponse {
  const answer = { tombstone, lastEpoch: 9, storeId: "", volumes: [] };
  if (!record) return { ...answer, instance: undefined };
  const found = instance({ uid: record.run === "same run" ? "vmi-1" : "vmi-2", node: record.owner, epoch: record.epoch });
  if (record.run === "another machine") found.metadata!.ownerReferences[0]!.uid = "vm-2";
  const ends = { none: undefined, "from here": ["me", "other"], "to here": ["other", "me"], elsewhere: ["other", "third"] }[record.migration];
  if (ends) found.status!.migration = InstanceMigration.create({ uid: "m", sourceNode: ends[0]!, targetNode: ends[1]! });
  return { ...answer, instance: found };
}

describe("the kill rule", () => {
  it("destroys only by tombstone, or by a higher epoch elsewhere with no migration open here", () => {
    let count = 0;
    for (const one of cases()) {
      const { tombstone, record } = one;
      const movedOn = record !== undefined && record.run !== "another machine" && record.owner === "other" && record.epoch > EPOCH &&
        record.migration !== "from here" && record.migration !== "to here";
      const verdict = killVerdict({ identity, lookup: lookup(one), nodeName: "me" });
      assert.equal(verdict === "destroy", tombstone || movedOn, JSON.stringify(one));
      count += 1;
    }
    assert.equal(count, 2 * (1 + 3 * 3 * 3 * 4));
  });

  it("keeps every domain whose record names this node, whatever the epochs", () => {
    for (const epoch of epochs) {
      const record = { owner: "me", epoch, run: "same run", migration: "none" } as const;
      assert.equal(killVerdict({ identity, lookup: lookup({ tombstone: false, record }), nodeName: "me" }), "keep");
    }
  });
});
