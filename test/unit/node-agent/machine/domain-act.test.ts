/** What may be done to a domain at once, over its whole space; and that it is done once, between the steps of its driver. */
import assert from "node:assert/strict";
import { ActOnDomain, AssignmentRole, DomainAct, DomainActOutcome } from "../../../../gen/drover/agent/v1/agent.ts";
import { InstanceMigration } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { judgeAct } from "../../../../node-agent/machine/domain-act.ts";
import type { Seen } from "../../../../node-agent/machine/observed.ts";
import { HypervisorError } from "../../../../node-agent/libvirt/hypervisor.ts";
import { Agent, running, settle, until, UUID, withGuest } from "../fixture.ts";

const { PAUSE, UNPAUSE, RESET } = DomainAct;
const { DONE, ALREADY, NOT_OWNER, NOT_RUNNING, MIGRATING, DELETING, BUSY, TOO_LATE, UNSPECIFIED } = DomainActOutcome;

const migration = InstanceMigration.create({ uid: "m-1", sourceNode: "a", targetNode: "b", sourceEpoch: 1, targetEpoch: 2 });
const identity = { namespace: "default", vm: "web", vmUid: "vm-1", vmiUid: "vmi-1", epoch: 1, generation: 1 };
const domain = (state: Seen["state"], reason = ""): Seen => ({ uuid: UUID, name: "default_web_vm1", state, reason, persistent: true, identity });

describe("an act on a domain", () => {
  const judge = (act: DomainAct, seen: Seen | undefined, of = running(), { role = AssignmentRole.OWNER as AssignmentRole, hold = false, epoch = 1 } = {}) =>
    judgeAct({ assignment: { instance: of, role }, domain: seen, hold }, { act, epoch }).outcome;

  const table: [Seen["state"], string, pause: DomainActOutcome, unpause: DomainActOutcome, reset: DomainActOutcome][] = [
    ["running", "booted", DONE, ALREADY, DONE],
    ["blocked", "", DONE, ALREADY, DONE],
    ["paused", "user", ALREADY, DONE, DONE],
    ["paused", "ioerror", ALREADY, DONE, DONE],
    ["paused", "watchdog", ALREADY, DONE, DONE],
    ["paused", "crashed", ALREADY, DONE, DONE],
    ...["migration", "postcopy", "postcopy-failed", "save", "dump", "snapshot", "starting-up", "shutting-down"].map((reason) =>
      ["paused", reason, BUSY, BUSY, BUSY] as [Seen["state"], string, DomainActOutcome, DomainActOutcome, DomainActOutcome]),
    ["pmsuspended", "", BUSY, BUSY, BUSY],
    ["shutdown", "user", NOT_RUNNING, NOT_RUNNING, NOT_RUNNING],
    ["shutoff", "shutdown", NOT_RUNNING, NOT_RUNNING, NOT_RUNNING],
    ["crashed", "panicked", NOT_RUNNING, NOT_RUNNING, NOT_RUNNING],
    ["nostate", "", NOT_RUNNING, NOT_RUNNING, NOT_RUNNING],
  ];
  for (const [state, reason, ...outcomes] of table) {
    it(`on one that is ${state} ${reason}`, () => {
      assert.deepEqual([PAUSE, UNPAUSE, RESET].map((act) => judge(act, domain(state, reason))), outcomes);
    });
  }

  it("is for its owner alone, under the epoch that was asked about, and for its own domain", () => {
    for (const act of [PAUSE, UNPAUSE, RESET]) {
      const runs = domain("running");
      assert.equal(judge(act, runs, running(), { epoch: 2 }), NOT_OWNER);
      assert.equal(judge(act, runs, running({ epoch: 2 })), NOT_OWNER);
      assert.equal(judge(act, runs, running(), { hold: true }), NOT_OWNER);
      for (const role of [AssignmentRole.INCOMING, AssignmentRole.OUTGOING]) assert.equal(judge(act, runs, running(), { role }), NOT_OWNER);
      assert.equal(judgeAct({ assignment: undefined, domain: runs, hold: false }, { act, epoch: 1 }).outcome, NOT_OWNER);
      assert.equal(judge(act, undefined), NOT_RUNNING);
      assert.equal(judge(act, { ...runs, identity: { ...identity, vmiUid: "vmi-0" } }), NOT_RUNNING);
      assert.equal(judge(act, { ...runs, identity: undefined }), NOT_RUNNING);
    }
  });

  it("waits for no move, and is done again once that has handed the machine over", () => {
    for (const act of [PAUSE, UNPAUSE, RESET]) {
      assert.equal(judge(act, domain("running"), running({ status: { migration } })), MIGRATING);
      assert.notEqual(judge(act, domain("running"), running({ status: { migration: { ...migration, handedOff: true } } })), MIGRATING);
      assert.equal(judge(act, domain("running"), running({ deleting: 30 })), DELETING);
    }
  });

  it("that nobody here knows is not done", () => {
    assert.equal(judge(DomainAct.UNSPECIFIED, domain("running")), UNSPECIFIED);
    assert.equal(judge(99 as DomainAct, domain("running")), UNSPECIFIED);
  });
});

describe("a machine whose node is asked to act", () => {
  const wish = (act: DomainAct, requestId: string, timeoutMs = 1_000) => ActOnDomain.create({ vmiUid: "vmi-1", epoch: 1, act, requestId, timeoutMs });

  it("pauses it, says so in the record, and lets it go on", async () => {
    using agent = new Agent({ hypervisor: withGuest() });
    agent.session(running());
    await settle();
    assert.equal((await agent.machines.act(wish(PAUSE, "r-1"))).outcome, DONE);
    assert.equal(agent.hypervisor.domains.get(UUID)!.state, "paused");
    await until(() => agent.controlPlane.words().at(-1) === "PAUSED");
    assert.equal((await agent.machines.act(wish(PAUSE, "r-2"))).outcome, ALREADY);
    assert.equal((await agent.machines.act(wish(UNPAUSE, "r-3"))).outcome, DONE);
    await until(() => agent.controlPlane.words().at(-1) === "RUNNING");
  });

  it("resets it once for one wish, however often that is said", async () => {
    using agent = new Agent({ hypervisor: withGuest() });
    agent.session(running());
    const said = await Promise.all([wish(RESET, "r-1"), wish(RESET, "r-1"), wish(RESET, "r-2")].map((each) => agent.machines.act(each)));
    const again = await agent.machines.act(wish(RESET, "r-1"));
    assert.deepEqual([...said, again].map(({ outcome }) => outcome), [DONE, DONE, DONE, DONE]);
    assert.equal(agent.hypervisor.calls.filter((call) => call === "reset").length, 2);
  });

  it("does another thing under the same name: what was said of one is not said of the other", async () => {
    using agent = new Agent({ hypervisor: withGuest() });
    agent.session(running());
    await agent.machines.act(wish(PAUSE, "r-1"));
    assert.equal((await agent.machines.act(wish(UNPAUSE, "r-1"))).outcome, DONE);
    assert.equal(agent.hypervisor.domains.get(UUID)!.state, "running");
  });

  it("tells what libvirt said, and may be asked again for what failed", async () => {
    using agent = new Agent({ hypervisor: withGuest() });
    agent.session(running());
    agent.hypervisor.faults.set("reset", new HypervisorError("failed", "no such button"));
    await assert.rejects(agent.machines.act(wish(RESET, "r-1")), /no such button/);
    agent.hypervisor.faults.clear();
    assert.equal((await agent.machines.act(wish(RESET, "r-1"))).outcome, DONE);
  });

  it("begins nothing that nobody waits for any more", async () => {
    using agent = new Agent({ hypervisor: withGuest() });
    agent.session(running());
    assert.equal((await agent.machines.act(wish(RESET, "r-1", 0))).outcome, TOO_LATE);
    assert.ok(!agent.hypervisor.calls.includes("reset"));
  });

  it("does nothing to a machine that no record here speaks of", async () => {
    using agent = new Agent({ hypervisor: withGuest() });
    assert.equal((await agent.machines.act(ActOnDomain.create({ vmiUid: "vmi-9", epoch: 1, act: RESET, requestId: "r", timeoutMs: 100 }))).outcome, NOT_OWNER);
  });
});
