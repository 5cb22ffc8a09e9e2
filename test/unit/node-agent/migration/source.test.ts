/** The source's decisions: nothing without a record of ISSUED, nothing ended without evidence. */
import assert from "node:assert/strict";
import {
  InstanceMigration, MigrationMode, MigrationOptions, MigrationSourceReport, MigrationSourceState, MigrationStandstill, MigrationTargetReport,
  MigrationTargetState, OfferedDisk, MigrationTimeoutAction, Phase,
} from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { AssignmentRole } from "../../../../gen/drover/agent/v1/agent.ts";
import type { JobKind } from "../../../../node-agent/libvirt/hypervisor.ts";
import { newMemory } from "../../../../node-agent/machine/observed.ts";
import type { Observed, Seen, SourceMemory } from "../../../../node-agent/machine/observed.ts";
import { MENDS_MAX, POST_COPY_REFUSALS_MAX, QUIET_MS, decideSource, newSourceMemory, wordOf } from "../../../../node-agent/migration/source.ts";
import { BOOT, UUID, instance } from "../fixture.ts";

const { UNSPECIFIED, ISSUED, STAYED, LEFT, ENDED } = MigrationSourceState;
const { ABSENT } = MigrationTargetState;
const { POST_COPY, PAUSED } = MigrationMode;
const { PAUSE } = MigrationTimeoutAction;
const identity = { namespace: "default", vm: "web", vmUid: "vm-1", vmiUid: "vmi-1", epoch: 1, generation: 1 };
const running: Seen = { uuid: UUID, name: "web", state: "running", reason: "booted", persistent: true, identity };

type Case = {
  state?: MigrationSourceState;
  by?: string;
  target?: MigrationTargetState;
  abort?: boolean;
  /** Disks are to be copied, and have been said to be like something. */
  copied?: "asked" | "offered";
  handedOff?: boolean;
  domain?: Seen | null;
  job?: JobKind | "unknown";
  memory?: Partial<SourceMemory>;
  quietMs?: number;
  /** What the record says besides the source's state. */
  said?: Partial<MigrationSourceReport>;
  /** The source's generation that the target has seen. */
  peerGeneration?: number;
  options?: Partial<MigrationOptions> | undefined;
  /** Seconds of the job. */
  elapsedS?: number;
};

function decided({ state = UNSPECIFIED, by = "me", target = MigrationTargetState.READY, abort = false, copied, handedOff = false, domain = running, job = "none", memory = {}, quietMs, said = {}, peerGeneration = 0, options, elapsedS }: Case) {
  const migration = InstanceMigration.create({
    uid: "m", sourceNode: "a", targetNode: "b", sourceEpoch: 1, targetEpoch: 2, abortRequested: abort, handedOff,
    copiedDisks: copied ? [{ volume: "root" }] : [],
    source: { ...MigrationSourceReport.create({ state, agentInstance: by }), disks: copied === "offered" ? [OfferedDisk.create({ volume: "root" })] : [], ...said },
    target: MigrationTargetReport.create({ state: target, peerGeneration }),
    ...(options && { options: { ...MigrationOptions.create(), ...options } }),
  });
  const of = instance({ claimed: true, phase: Phase.RUNNING, reachedRunning: true, status: { migration } });
  const observed: Observed = {
    self: { nodeName: "a", boot: BOOT, agentInstance: "me" },
    assignment: { instance: of, role: AssignmentRole.OWNER },
    domain: domain ?? undefined,
    job: job === "unknown" ? undefined : { kind: job, ...(elapsedS !== undefined && { elapsedMs: elapsedS * 1000, memoryTotalBytes: 1, memoryProcessedBytes: 1 }) },
    memory: { ...newMemory(), source: { ...newSourceMemory("m"), ...memory } },
    lookup: undefined, synced: true, hold: false, nowMs: 100_000, quietMs,
  };
  const action = decideSource(observed, of);
  if (action.do !== "say-source") return action.do;
  return ["say", nameOf[action.state], ...(action.also ? [wordOf(action.also)] : [])].join(" ");
}

const nameOf = Object.fromEntries(Object.entries(MigrationSourceState).map(([name, value]) => [value, name]));
const gone = null;
const passage = { uri: "qemu+unix:///system?socket=/p", tlsDestination: "b.migration" };
const withDomain = (state: Seen["state"], reason: string): Seen => ({ ...running, state, reason });

describe("the source of a migration", () => {
  const standstill = MigrationStandstill.create({ message: "no" });
  const still = JSON.stringify({ postCopyBroken: false, attempts: 0, message: "no" });
  const brokenStill = MigrationStandstill.create({ postCopyBroken: true });
  const returned = { call: "returned", error: "no" } as const;
  const limit = { completionTimeoutSeconds: 10, maxDowntimeMs: 300 };
  const postCopy = { ...limit, postCopy: true, timeoutAction: MigrationTimeoutAction.POST_COPY };
  const moving: Case = { state: ISSUED, job: "migration-out", memory: { call: "outstanding" }, options: limit };
  const broken: Case = { state: ISSUED, domain: withDomain("paused", "postcopy-failed"), memory: returned, said: { mode: POST_COPY, standstill: brokenStill } };
  const table: [string, Case, string | RegExp][] = [
    ["waits for the target", { target: MigrationTargetState.UNSPECIFIED }, "wait"],
    ["says what disks are like that are to be copied, before the target can be ready", { copied: "asked", target: MigrationTargetState.UNSPECIFIED }, "offer-disks"],
    ["does not say that twice", { copied: "asked", memory: { offered: true } }, "wait"],
    ["does not say it of a move that shall not begin", { copied: "asked", abort: true }, "wait"],
    ["stays when it cannot say it", { copied: "asked", target: MigrationTargetState.UNSPECIFIED, memory: { passage: "failed", error: "no" } }, "say STAYED"],
    ["goes on when it has", { copied: "offered" }, "open-passage"],
    ["waits for the target that makes room", { copied: "offered", target: MigrationTargetState.UNSPECIFIED }, "wait"],
    ["finds the way before it promises anything", {}, "open-passage"],
    ["has ISSUED recorded before the call", { memory: { passage } }, "say ISSUED"],
    ["does not say it twice", { memory: { passage, said: ISSUED } }, "wait"],
    ["does not begin with a guest that was paused meanwhile", { domain: withDomain("paused", "user") }, "say STAYED"],
    ["nor when the way is open", { domain: withDomain("paused", "user"), memory: { passage } }, "say STAYED"],
    ["stays when there is no way", { memory: { passage: "failed", error: "no" } }, "say STAYED"],
    ["does not begin what shall be aborted", { abort: true }, "wait"],
    ["does not begin it with the way open either", { abort: true, memory: { passage } }, "wait"],
    ["says that the guest ended before it began", { domain: withDomain("shutoff", "shutdown") }, "say ENDED"],
    ["calls only when its own ISSUED is on record", { state: ISSUED }, "call"],
    ["stays when the abort came before the call", { state: ISSUED, abort: true }, "say STAYED"],
    ["does not call for another process", { state: ISSUED, by: "an earlier one" }, "note-quiet"],
    ["watches a running call", { state: ISSUED, memory: { call: "outstanding" } }, "poll-progress"],
    ["aborts a running call", { state: ISSUED, abort: true, memory: { call: "outstanding" } }, "abort"],
    ["asks again for the abort", { state: ISSUED, abort: true, memory: { call: "outstanding", abortAskedMs: 90_000 } }, "abort"],
    ["adopts an earlier agent's job", { state: ISSUED, by: "an earlier one", job: "migration-out" }, "poll-progress"],
    ["aborts an adopted job", { state: ISSUED, by: "an earlier one", job: "migration-out", abort: true }, "abort"],
    ["ends nothing while libvirt cannot say", { state: ISSUED, by: "an earlier one", job: "unknown" }, "wait"],
    ["looks twice after a loss", { state: ISSUED, memory: { call: "lost" } }, "note-quiet"],
    ["waits between the looks", { state: ISSUED, memory: { call: "lost", quietSinceMs: 99_000 } }, "wait"],
    ["waits longer where it is configured so", { state: ISSUED, memory: { call: "lost", quietSinceMs: 100_000 - QUIET_MS }, quietMs: QUIET_MS + 1 }, "wait"],
    ["stayed after two looks", { state: ISSUED, memory: { call: "lost", quietSinceMs: 100_000 - QUIET_MS } }, "say STAYED"],
    ["stayed after a failed call", { state: ISSUED, memory: { call: "returned", error: "no" } }, "say STAYED"],
    ["left after a good call", { state: ISSUED, domain: gone, memory: { call: "returned", complete: true } }, "say LEFT"],
    ["left when only the definition is left", { state: ISSUED, domain: withDomain("shutoff", "migrated"), memory: { call: "returned", complete: true } }, "say LEFT"],
    ["waits a moment for the final figures", { state: ISSUED, domain: gone, memory: { call: "returned", returnedMs: 99_900 } }, "wait"],
    ["ended when the guest died", { state: ISSUED, domain: withDomain("shutoff", "crashed"), memory: { call: "returned", error: "no" } }, "say ENDED"],
    ["asks the target about a guest that stands still in the switch-over", { state: ISSUED, domain: withDomain("paused", "migration"), memory: { call: "returned", error: "no" } }, `say ISSUED {"standstill":${still}}`],
    ["asks it once", { state: ISSUED, domain: withDomain("paused", "migration"), memory: { call: "returned", error: "no", awaited: `{"standstill":${still}}` } }, "poll-progress"],
    ["waits for the answer", { state: ISSUED, domain: withDomain("paused", "migration"), memory: returned, said: { standstill, generation: 2 } }, "wait"],
    ["heeds no answer to an older question", { state: ISSUED, domain: withDomain("paused", "migration"), memory: returned, said: { standstill, generation: 2 }, target: ABSENT, peerGeneration: 1 }, "wait"],
    ["lets the guest go on when nothing of it is at the target", { state: ISSUED, domain: withDomain("paused", "migration"), memory: returned, said: { standstill, generation: 2 }, target: ABSENT, peerGeneration: 2 }, "resume-guest"],
    ["stayed once it goes on", { state: ISSUED, domain: withDomain("running", "unpaused"), memory: returned, said: { standstill, generation: 2 }, target: ABSENT, peerGeneration: 2 }, "say STAYED"],
    ["never leaves paused what it paused too late", { state: ISSUED, domain: withDomain("paused", "user"), memory: returned, said: { mode: PAUSED } }, `say ISSUED {"standstill":${still}}`],
    ["stayed paused by its user", { state: ISSUED, domain: withDomain("paused", "user"), memory: { call: "returned", error: "no" } }, "say STAYED"],
    ["asks for nothing within the limit", { ...moving, elapsedS: 9 }, "poll-progress"],
    ["asks for nothing without options", { ...moving, options: undefined, elapsedS: 1_000 }, "poll-progress"],
    ["has it on record before it gives up", { ...moving, elapsedS: 10 }, /^say ISSUED \{"gaveUp":"it did not converge within 10 s: /],
    ["then has libvirt asked to abort", { ...moving, elapsedS: 10, said: { gaveUp: "so" } }, "abort"],
    ["asks for the abort of one who gave up before it", { ...moving, by: "an earlier one", memory: {}, said: { gaveUp: "so" } }, "abort"],
    ["obeys the user's abort first", { ...moving, abort: true, elapsedS: 10 }, "abort"],
    ["has it on record before the guest is paused", { ...moving, options: { ...limit, timeoutAction: PAUSE }, elapsedS: 10 }, `say ISSUED {"mode":${PAUSED}}`],
    ["then pauses it", { ...moving, options: { ...limit, timeoutAction: PAUSE }, elapsedS: 10, said: { mode: PAUSED } }, "pause-guest"],
    ["pauses it once", { ...moving, options: { ...limit, timeoutAction: PAUSE }, elapsedS: 10, said: { mode: PAUSED }, memory: { call: "outstanding", suspended: true } }, "poll-progress"],
    ["pauses nothing without a job", { ...moving, job: "none", said: { mode: PAUSED } }, "poll-progress"],
    ["lets a paused guest finish", { ...moving, elapsedS: 12, domain: withDomain("paused", "migration"), said: { mode: PAUSED } }, "poll-progress"],
    ["aborts a paused guest's migration like others", { ...moving, abort: true, domain: withDomain("paused", "migration"), said: { mode: PAUSED } }, "abort"],
    ["switches to post-copy", { ...moving, options: postCopy, elapsedS: 10 }, "start-post-copy"],
    ["gives up on post-copy when libvirt will not", { ...moving, options: postCopy, elapsedS: 10, memory: { call: "outstanding", postCopyRefusals: POST_COPY_REFUSALS_MAX, error: "no" } }, /"gaveUp":"it did not .* post-copy could not be begun: no"/],
    ["says that post-copy has begun", { ...moving, domain: withDomain("paused", "postcopy") }, `say ISSUED {"mode":${POST_COPY}}`],
    ["aborts nothing in post-copy", { ...moving, abort: true, elapsedS: 1_000, domain: withDomain("paused", "postcopy"), said: { mode: POST_COPY } }, "poll-progress"],
    ["adopts a post-copy", { ...moving, by: "an earlier one", memory: {}, domain: withDomain("paused", "postcopy"), said: { mode: POST_COPY } }, "poll-progress"],
    ["has it on record that post-copy broke", { ...broken, said: { mode: POST_COPY } }, `say ISSUED {"mode":${POST_COPY},"standstill":{"postCopyBroken":true,"attempts":0,"message":"no"}}`],
    ["then mends it", broken, "mend-post-copy"],
    ["mends it with an abort asked for, too", { ...broken, abort: true }, "mend-post-copy"],
    ["mends what an earlier agent had under way", { ...broken, by: "an earlier one", memory: {} }, "mend-post-copy"],
    ["waits between two attempts", { ...broken, memory: { ...returned, mends: { attempts: 1, dueMs: 100_001, message: "" } } }, "wait"],
    ["has one attempt at a time", { ...broken, memory: { call: "outstanding" } }, "poll-progress"],
    ["tells of attempts when they have doubled", { ...broken, memory: { ...returned, mends: { attempts: 2, dueMs: 0, message: "again" } } }, /"attempts":2,"message":"again"/],
    ["ends its attempts, and nothing else", { ...broken, said: { mode: POST_COPY, standstill: { ...brokenStill, attempts: 64 } }, memory: { ...returned, mends: { attempts: MENDS_MAX, dueMs: 0, message: "" } } }, "wait"],
    ["says that it is mended", { ...moving, domain: withDomain("paused", "postcopy"), said: { mode: POST_COPY, standstill: brokenStill } }, 'say ISSUED {"standstill":null}'],
    ["never says STAYED of a half", { state: ISSUED, domain: withDomain("paused", "postcopy"), memory: returned, said: { mode: POST_COPY } }, "wait"],
    ["never speaks after an end", { state: STAYED, memory: { call: "returned" } }, "wait"],
    ["never speaks after LEFT", { state: LEFT, domain: gone }, "wait"],
    ["never speaks after ENDED", { state: ENDED }, "wait"],
    ["says LEFT after the handoff", { state: ISSUED, handedOff: true, domain: gone, by: "an earlier one" }, "say LEFT"],
    ["leaves what still runs after the handoff to the kill rule", { state: ISSUED, handedOff: true, by: "an earlier one" }, "wait"],
  ];
  for (const [name, one, expected] of table) it(name, () => (typeof expected === "string" ? assert.equal(decided(one), expected) : assert.match(decided(one), expected)));
});
