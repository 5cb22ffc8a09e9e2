/** When an image that a migration left goes, and when it must not: nothing brings a disk back. */
import assert from "node:assert/strict";
import type { LookupMachineResponse } from "../../../../gen/drover/agent/v1/agent.ts";
import { Volume, VolumeState } from "../../../../gen/drover/v1/volume.ts";
import { silentLog } from "../../../../lib/log.ts";
import { imageFate, LeftoverImages } from "../../../../node-agent/machine/leftover-images.ts";
import type { Transfer } from "../../../../node-agent/storage/transfers.ts";

const UID = "migration-1";
const PLACE = { volume: "of-a.root", pool: "ssd", image: "root.qcow2" };
const transfer: Transfer = { migrationUid: UID, namespace: "default", vm: "web", vmUid: "vm-1", vmiUid: "vmi-1", bytes: {}, images: [PLACE], proofs: ["nfs"] };
const volume = (state: VolumeState, migrationUid = UID) => Volume.create({ metadata: { name: PLACE.volume }, status: { state, migrationUid } });
const answer = (...volumes: Volume[]): LookupMachineResponse => ({ instance: undefined, tombstone: false, lastEpoch: 0, storeId: "store", volumes });

type Scene = { answers: readonly (LookupMachineResponse | Error)[]; open?: ReadonlySet<string>; isTold?: boolean; hasImage?: boolean; fails?: boolean };

/** What became of the image and of the account of it after a sweep for each answer. */
async function after({ answers, open = new Set(), isTold = true, hasImage = true, fails = false }: Scene): Promise<string[]> {
  const kept = new Map([[UID, transfer]]);
  const removed: string[] = [];
  let turn = 0;
  const leftovers = new LeftoverImages({
    storage: {
      transfers: { list: () => [...kept.values()], write: () => undefined, remove: (uid) => void kept.delete(uid) },
      copies: {
        exclusively: (act) => act(),
        hasImage: async () => hasImage,
        removeImage: async ({ pool, image }) => {
          removed.push(`${fails ? "tried " : ""}${pool}/${image}`);
          if (fails) throw new Error("This node has no such pool");
        },
        removeProofs: async ({ proofs }) => void removed.push(...proofs.map((pool) => `proof in ${pool}`)),
        offer: () => assert.fail(), receive: () => assert.fail(), verify: () => assert.fail(),
      },
    },
    controlPlane: {
      lookUp: async ({ volumes }) => {
        assert.deepEqual(volumes, [PLACE.volume]);
        const said = answers[turn]!;
        if (said instanceof Error) throw said;
        return said;
      },
    },
    storeId: () => "store",
    open: () => (isTold ? open : undefined),
    log: silentLog,
  });
  for (; turn < answers.length; turn += 1) await leftovers.sweep();
  return [...removed, ...kept.keys()];
}

describe("an image that a migration left", () => {
  it("goes when the record has given its bytes up, and with it the account and the proofs", async () => {
    assert.deepEqual(await after({ answers: [answer(volume(VolumeState.VACATED))] }), ["ssd/root.qcow2", "proof in nfs"]);
  });

  it("goes at once after the handoff, while the migration is still open", async () => {
    assert.deepEqual(await after({ answers: [answer(volume(VolumeState.VACATED))], open: new Set([UID]) }), ["ssd/root.qcow2", UID]);
  });

  const stays: [string, Scene, string[]][] = [
    ["its bytes are there", { answers: [answer(volume(VolumeState.UNSPECIFIED, ""))] }, ["proof in nfs"]],
    ["another migration brings them", { answers: [answer(volume(VolumeState.INCOMING, "migration-2"))] }, ["proof in nfs"]],
    ["another migration has given them up, which is for its own account", { answers: [answer(volume(VolumeState.VACATED, "migration-2"))] }, ["proof in nfs"]],
    ["its bytes are there and the migration is open", { answers: [answer(volume(VolumeState.UNSPECIFIED, ""))], open: new Set([UID]) }, [UID]],
    ["they are still on their way", { answers: [answer(volume(VolumeState.INCOMING))] }, [UID]],
    ["a newer version says something of it", { answers: [answer(volume(9 as VolumeState))] }, [UID]],
    ["the record says nothing", { answers: [answer(), answer()] }, [UID]],
    ["another store answers", { answers: [{ ...answer(volume(VolumeState.VACATED)), storeId: "other" }] }, [UID]],
    ["nobody answers", { answers: [new Error("unreachable")] }, [UID]],
  ];
  for (const [what, scene, left] of stays) it(`stays when ${what}`, async () => assert.deepEqual(await after(scene), left));

  it("is not asked about before the node knows its open migrations", async () => {
    assert.deepEqual(await after({ answers: [answer(volume(VolumeState.VACATED))], isTold: false }), [UID]);
  });

  it("that cannot be removed is tried again, and not at every turn", async () => {
    const answers = Array.from({ length: 25 }, () => answer(volume(VolumeState.VACATED)));
    assert.deepEqual(await after({ answers, fails: true }), ["tried ssd/root.qcow2", "tried ssd/root.qcow2", UID]);
  });

  it("that is gone already needs no word of the record", async () => {
    assert.deepEqual(await after({ answers: [answer()], hasImage: false }), ["proof in nfs"]);
  });

  it("is never removed on a missing word", () => {
    for (const state of [undefined, VolumeState.UNSPECIFIED, VolumeState.INCOMING]) {
      assert.notEqual(imageFate(state === undefined ? undefined : volume(state), UID), "remove");
    }
  });
});
