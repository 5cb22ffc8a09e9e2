/** The source's decisions: nothing without a record of ISSUED, nothing ended without evidence. */
import assert from "node:assert/strict";
import {
  InstanceMigration, MigrationSourceReport, MigrationSourceState, MigrationTargetReport, MigrationTargetState, Phase,
} from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { AssignmentRole } from "../../../../gen/drover/agent/v1/agent.ts";
import type { JobKind } from "../../../../node-agent/libvirt/hypervisor.ts";
import { newMemory } from "../../../../node-agent/machine/observed.ts";
import type { Observed, Seen, SourceMemory } from "../../../../node-agent/machine/observed.ts";
import { QUIET_MS, decideSource, newSourceMemory } from "../../../../node-agent/migration/source.ts";
import { BOOT, UUID, instance } from "../fixture.ts";

const { UNSPECIFIED, ISSUED, STAYED, LEFT, ENDED } = MigrationSourceState;
const identity = { namespace: "default", vm: "web", vmUid: "vm-1", vmiUid: "vmi-1", epoch: 1, generation: 1 };
const running: Seen = { uuid: UUID, name: "web", state: "running", reason: "booted", persistent: true, identity };

type Case = {
  state?: MigrationSourceState;
  by?: string;
  target?: MigrationTargetState;
  abort?: boolean;
  handedOff?: boolean;
  domain?: Seen | null;
  job?: JobKind | "unknown";
  memory?: Partial<SourceMemory>;
};

function decided({ state = UNSPECIFIED, by = "me", target = MigrationTargetState.READY, abort = false, handedOff = false, domain = running, job = "none", memory = {} }: Case) {
  const migration = InstanceMigration.create({
    uid: "m", sourceNode: "a", targetNode: "b", sourceEpoch: 1, targetEpoch: 2, abortRequested: abort, handedOff,
    source: MigrationSourceReport.create({ state, agentInstance: by }),
    target: MigrationTargetReport.create({ state: target }),
  });
  const of = instance({ claimed: true, phase: Phase.RUNNING, reachedRunning: true, status: { migration } });
  const observed: Observed = {
    self: { nodeName: "a", boot: BOOT, agentInstance: "me" },
    assignment: { instance: of, role: AssignmentRole.OWNER },
    domain: domain ?? undefined,
    job: job === "unknown" ? undefined : { kind: job },
    memory: { ...newMemory(), source: { ...newSourceMemory("m"), ...memory } },
    lookup: undefined, synced: true, hold: false, nowMs: 100_000,
  };
  const action = decideSource(observed, of);
  return action.do === "say-source" ? `say ${nameOf[action.state]}` : action.do;
}

const nameOf = Object.fromEntries(Object.entries(MigrationSourceState).map(([name, value]) => [value, name]));
const gone = null;
const passage = { uri: "qemu+unix:///system?socket=/p", tlsDestination: "b.migration" };
const withDomain = (state: Seen["state"], reason: string): Seen => ({ ...running, state, reason });

describe("the source of a migration", () => {
  const table: [string, Case, string][] = [
    ["waits for the target", { target: MigrationTargetState.UNSPECIFIED }, "wait"],
    ["finds the way before it promises anything", {}, "open-passage"],
    ["has ISSUED recorded before the call", { memory: { passage } }, "say ISSUED"],
    ["does not say it twice", { memory: { passage, said: ISSUED } }, "wait"],
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
    ["stayed after two looks", { state: ISSUED, memory: { call: "lost", quietSinceMs: 100_000 - QUIET_MS } }, "say STAYED"],
    ["stayed after a failed call", { state: ISSUED, memory: { call: "returned", error: "no" } }, "say STAYED"],
    ["left after a good call", { state: ISSUED, domain: gone, memory: { call: "returned", complete: true } }, "say LEFT"],
    ["left when only the definition is left", { state: ISSUED, domain: withDomain("shutoff", "migrated"), memory: { call: "returned", complete: true } }, "say LEFT"],
    ["waits a moment for the final figures", { state: ISSUED, domain: gone, memory: { call: "returned", returnedMs: 99_900 } }, "wait"],
    ["ended when the guest died", { state: ISSUED, domain: withDomain("shutoff", "crashed"), memory: { call: "returned", error: "no" } }, "say ENDED"],
    ["does not speak for a guest that stands still in the switch-over", { state: ISSUED, domain: withDomain("paused", "migration"), memory: { call: "returned", error: "no" } }, "wait"],
    ["stayed paused by its user", { state: ISSUED, domain: withDomain("paused", "user"), memory: { call: "returned", error: "no" } }, "say STAYED"],
    ["never speaks after an end", { state: STAYED, memory: { call: "returned" } }, "wait"],
    ["never speaks after LEFT", { state: LEFT, domain: gone }, "wait"],
    ["never speaks after ENDED", { state: ENDED }, "wait"],
    ["says LEFT after the handoff", { state: ISSUED, handedOff: true, domain: gone, by: "an earlier one" }, "say LEFT"],
    ["leaves what still runs after the handoff to the kill rule", { state: ISSUED, handedOff: true, by: "an earlier one" }, "wait"],
  ];
  for (const [name, one, expected] of table) it(name, () => assert.equal(decided(one), expected));
});
