/** The target's decisions: READY once and for this process, RUNNING only on sight, ABSENT only with proof. */
import assert from "node:assert/strict";
import {
  InstanceMigration, MigrationSourceReport, MigrationSourceState, MigrationStandstill, MigrationTargetReport, MigrationTargetState, OfferedDisk, Phase,
} from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { AssignmentRole } from "../../../../gen/drover/agent/v1/agent.ts";
import { newMemory } from "../../../../node-agent/machine/observed.ts";
import type { Seen, TargetMemory } from "../../../../node-agent/machine/observed.ts";
import { decideTarget, newTargetMemory } from "../../../../node-agent/migration/target.ts";
import { BOOT, UUID, instance } from "../fixture.ts";

const T = MigrationTargetState;
const S = MigrationSourceState;
const TARGET_EPOCH = 2;
const here = (state: Seen["state"], reason: string, epoch = TARGET_EPOCH): Seen => ({
  uuid: UUID, name: "web", state, reason, persistent: state === "shutoff",
  identity: { namespace: "default", vm: "web", vmUid: "vm-1", vmiUid: "vmi-1", epoch, generation: 1 },
});

type Case = { target?: MigrationTargetState; by?: string; peer?: number; source?: MigrationSourceState; abort?: boolean; copied?: "asked" | "offered"; domain?: Seen; memory?: Partial<TargetMemory>; standstill?: MigrationStandstill };

function decided({ target = T.UNSPECIFIED, by = "", peer = 0, source = S.UNSPECIFIED, abort = false, copied, domain, memory = {}, standstill }: Case): string {
  const migration = InstanceMigration.create({
    uid: "m", sourceNode: "b", targetNode: "a", sourceEpoch: 1, targetEpoch: TARGET_EPOCH, abortRequested: abort,
    copiedDisks: copied ? [{ volume: "root" }] : [],
    source: { ...MigrationSourceReport.create({ state: source, generation: 4 }), disks: copied === "offered" ? [OfferedDisk.create({ volume: "root" })] : [], standstill },
    target: MigrationTargetReport.create({ state: target, agentInstance: by, peerGeneration: peer }),
  });
  const of = instance({ node: "b", claimed: true, phase: Phase.RUNNING, status: { migration } });
  const action = decideTarget({
    self: { nodeName: "a", boot: BOOT, agentInstance: "me" }, assignment: { instance: of, role: AssignmentRole.INCOMING }, domain,
    job: undefined, memory: { ...newMemory(), target: { ...newTargetMemory("m"), ...memory } },
    lookup: undefined, synced: true, hold: false, nowMs: 0,
  }, of);
  return action.do === "say-target" ? `say ${nameOf[action.state]}/${action.peerGeneration}` : action.do;
}

const nameOf = Object.fromEntries(Object.entries(MigrationTargetState).map(([name, value]) => [value, name]));

describe("the target of a migration", () => {
  const table: [string, Case, string][] = [
    ["prepares", {}, "prepare-incoming"],
    ["does not prepare before it knows what the disks are like that come", { copied: "asked" }, "wait"],
    ["prepares for disks that come", { copied: "offered" }, "prepare-incoming"],
    ["prepares once", { memory: { prepared: true } }, "wait"],
    ["prepares again when READY is an earlier process's", { target: T.READY, by: "an earlier one" }, "prepare-incoming"],
    ["keeps its READY", { target: T.READY, by: "me", memory: { prepared: true } }, "wait"],
    ["does not change its word once the source has begun", { target: T.READY, by: "an earlier one", source: S.ISSUED }, "wait"],
    ["stands by its refusal", { target: T.REFUSED, by: "an earlier one" }, "wait"],
    ["has nothing while the guest stands still", { target: T.READY, source: S.ISSUED, domain: here("paused", "migration") }, "wait"],
    ["says RUNNING on sight", { target: T.READY, source: S.ISSUED, domain: here("running", "migrated") }, "say RUNNING/4"],
    ["says RUNNING of a guest that moved while paused", { target: T.READY, source: S.LEFT, domain: here("paused", "user") }, "say RUNNING/4"],
    ["says RUNNING of a guest that has ended here since", { target: T.READY, source: S.LEFT, domain: here("shutoff", "shutdown") }, "say RUNNING/4"],
    ["does not take a guest of another epoch for it", { target: T.READY, by: "me", source: S.ISSUED, domain: here("running", "booted", 1), memory: { prepared: true } }, "wait"],
    ["does not take a half for a guest that runs here", { target: T.READY, source: S.ISSUED, domain: here("running", "postcopy") }, "wait"],
    ["keeps its half of a broken post-copy", { target: T.READY, source: S.ISSUED, domain: here("paused", "postcopy-failed") }, "wait"],
    ["keeps a half that runs although the way broke", { target: T.READY, source: S.ISSUED, domain: here("running", "postcopy-failed") }, "wait"],
    ["keeps it when the source says that its half left", { target: T.READY, source: S.LEFT, domain: here("running", "postcopy") }, "wait"],
    ["drops its half when the other one is lost for certain", { target: T.READY, source: S.ENDED, domain: here("paused", "postcopy-failed") }, "drop-half"],
    ["keeps a guest that became whole before its source died", { target: T.READY, source: S.ENDED, domain: here("running", "migrated") }, "say RUNNING/4"],
    ["answers a source whose guest stands still", { target: T.READY, source: S.ISSUED, standstill: MigrationStandstill.create({}) }, "say ABSENT/4"],
    ["does not answer so for a broken post-copy", { target: T.READY, by: "me", source: S.ISSUED, memory: { prepared: true }, standstill: MigrationStandstill.create({ postCopyBroken: true }) }, "wait"],
    ["says it once", { target: T.READY, domain: here("running", "migrated"), memory: { said: T.RUNNING } }, "wait"],
    ["is silent after RUNNING", { target: T.RUNNING }, "wait"],
    ["does not say ABSENT while the source may send", { target: T.READY, by: "me", source: S.ISSUED, memory: { prepared: true } }, "wait"],
    ["says ABSENT when the source stayed", { target: T.READY, source: S.STAYED }, "say ABSENT/4"],
    ["says ABSENT when the source left and nothing is here", { target: T.READY, source: S.LEFT }, "say ABSENT/4"],
    ["says ABSENT when the source ended", { target: T.READY, source: S.ENDED }, "say ABSENT/4"],
    ["says ABSENT when it is aborted before it began", { target: T.READY, abort: true }, "say ABSENT/4"],
    ["does not say ABSENT for an abort after it began", { target: T.READY, by: "me", source: S.ISSUED, abort: true, memory: { prepared: true } }, "wait"],
    ["says ABSENT anew for a newer word of the source", { target: T.ABSENT, peer: 3, source: S.LEFT }, "say ABSENT/4"],
    ["says ABSENT once", { target: T.ABSENT, peer: 4, source: S.LEFT }, "wait"],
    ["takes ABSENT back when it arrives after all", { target: T.ABSENT, peer: 4, source: S.LEFT, domain: here("running", "migrated") }, "say RUNNING/4"],
  ];
  for (const [name, one, expected] of table) it(name, () => assert.equal(decided(one), expected));
});
