/** Pause, unpause and reset by their own client, with agents that do as told, refuse, fail and stay silent. */
import assert from "node:assert/strict";
import { Status } from "nice-grpc";
import { DomainAct, DomainActOutcome, DomainActResult } from "../../../../gen/drover/agent/v1/agent.ts";
import type { ActOnDomain, CommandResult } from "../../../../gen/drover/agent/v1/agent.ts";
import { VirtualMachineInstanceMigration } from "../../../../gen/drover/v1/migration.ts";
import { InstanceMigration, MigrationMode, MigrationSourceReport, MigrationSourceState } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { answering, eventually, named, passing, refused, runningOn, serve } from "../sessions/serving.ts";

type Server = Awaited<ReturnType<typeof serve>>;
type Answer = (wish: ActOnDomain) => Partial<CommandResult> | undefined;

const { DONE, ALREADY, NOT_OWNER, NOT_RUNNING, MIGRATING, DELETING, BUSY, TOO_LATE } = DomainActOutcome;
const said = (outcome: DomainActOutcome, message = ""): Partial<CommandResult> => ({ act: DomainActResult.create({ outcome, message }) });
const once = (requestId = "") => ({ ...named, requestId, validateOnly: false });

/** A machine that runs on "a", whose agent answers so. */
async function running(server: Server, answer: Answer = () => said(DONE)) {
  const asked: ActOnDomain[] = [];
  const host = await answering(server, "a", {
    answers: {
      actOnDomain(wish) {
        asked.push(wish);
        return answer(wish);
      },
    },
    facts: { hypervisorConnected: true },
  });
  return { agent: host.agent, vmi: await runningOn(server, host, "a"), asked };
}

/** The machine's run with this in its status, as the controller writes it. */
async function write(server: Server, status: object): Promise<void> {
  const { virtualMachineInstance } = await server.vmis.getVirtualMachineInstance(named);
  await server.vmis.updateVirtualMachineInstanceStatus({ virtualMachineInstance: { ...virtualMachineInstance!, status: { ...virtualMachineInstance!.status!, ...status } } });
}

/** A migration of the machine that is entered, and says this of its source. */
async function moving(server: Server, source: Partial<MigrationSourceReport> = {}) {
  const { migration } = await server.migrations.createVirtualMachineInstanceMigration({
    migration: VirtualMachineInstanceMigration.create({ metadata: { name: "web-1", namespace: "default" }, spec: { vmiName: "web" } }), requestId: "", validateOnly: false,
  });
  const uid = migration!.metadata!.uid;
  const entered = InstanceMigration.create({ uid, sourceNode: "a", targetNode: "b", sourceEpoch: 1, targetEpoch: 2, source: MigrationSourceReport.create(source) });
  await write(server, { migration: entered, lastGrantedEpoch: 2 });
}

describe("acting on a guest", function () {
  this.timeout(30_000);

  it("asks the owner's agent, records the event, and says what was done", async () => {
    await using server = await serve();
    const { vmi, asked } = await running(server);
    for (const [call, act, reason] of [["pauseVirtualMachine", DomainAct.PAUSE, "Paused"], ["unpauseVirtualMachine", DomainAct.UNPAUSE, "Unpaused"], ["resetVirtualMachine", DomainAct.RESET, "Reset"]] as const) {
      const { event } = await server.vms[call](once());
      assert.deepEqual([event!.reason, event!.regarding!.kind, event!.regarding!.name, event!.source, event!.count], [reason, "VirtualMachine", "web", "api-server", 1]);
      assert.match(event!.message, / on "a"$/);
      const { vmiUid, epoch, act: wanted } = asked.at(-1)!;
      assert.deepEqual([vmiUid, epoch, wanted], [vmi.metadata!.uid, 1, act]);
    }
    const { events } = await server.events.listEvents({ namespace: "default", pageSize: 0, pageToken: "", labelSelector: "", fieldSelector: "" });
    assert.deepEqual(events.map(({ reason }) => reason).filter((reason) => /Paused|Unpaused|Reset/.test(reason)).toSorted(), ["Paused", "Reset", "Unpaused"]);
  });

  it("does once what comes again under one request id, and refuses another request under it", async () => {
    await using server = await serve();
    const { asked } = await running(server);
    const first = await server.vms.resetVirtualMachine(once("r-1"));
    await server.vms.resetVirtualMachine(once("r-2"));
    const again = await server.vms.resetVirtualMachine(once("r-1"));
    assert.deepEqual(asked.map(({ requestId }) => requestId), ["r-1", "r-2"]);
    assert.deepEqual(again.event!.lastTime, first.event!.lastTime);
    await refused(server.vms.pauseVirtualMachine(once("r-1")), Status.INVALID_ARGUMENT, /used for another request/);
  });

  it("asks nobody to validate", async () => {
    await using server = await serve();
    const { asked } = await running(server);
    const { event } = await server.vms.pauseVirtualMachine({ ...once(), validateOnly: true });
    assert.equal(event!.reason, "Paused");
    assert.deepEqual(asked, []);
    await refused(server.events.getEvent({ namespace: "default", name: event!.metadata!.name }), Status.NOT_FOUND);
  });

  it("refuses what the records refuse, without a question", async () => {
    await using server = await serve();
    await refused(server.vms.pauseVirtualMachine(once()), Status.NOT_FOUND, /virtualmachineinstances\/default\/web/);
    const { asked, agent } = await running(server);
    await refused(server.vms.resetVirtualMachine({ ...once(), name: "" }), Status.INVALID_ARGUMENT, /name/);
    await write(server, { phase: 3 });
    await refused(server.vms.pauseVirtualMachine(once()), Status.FAILED_PRECONDITION, /does not run/);
    await write(server, { phase: 4 });
    agent.leave();
    await eventually(async () => !server.sessions.connected("a"));
    await refused(server.vms.pauseVirtualMachine(once()), Status.UNAVAILABLE, /"a" is not connected/);
    assert.deepEqual(asked, []);
  });

  const answers: [what: string, answer: Partial<CommandResult> | undefined, code: Status, words: RegExp][] = [
    ["that there is nothing to do", said(ALREADY), Status.FAILED_PRECONDITION, /paused already/],
    ["that it owns it no more", said(NOT_OWNER), Status.ABORTED, /not on "a" any more/],
    ["that no guest runs", said(NOT_RUNNING, "libvirt says shutoff"), Status.FAILED_PRECONDITION, /does not run: libvirt says shutoff/],
    ["that it moves", said(MIGRATING), Status.FAILED_PRECONDITION, /about to move/],
    ["that it ends", said(DELETING), Status.FAILED_PRECONDITION, /being ended/],
    ["that libvirt has something to finish", said(BUSY, "libvirt says\u202e paused, save\u0007"), Status.FAILED_PRECONDITION, /for something else: libvirt says  paused, save $/],
    ["that it was too late", said(TOO_LATE), Status.UNAVAILABLE, /did not come to it in time/],
    ["what this server does not know", said(99 as DomainActOutcome), Status.FAILED_PRECONDITION, /does not know/],
    ["that libvirt failed", { error: "internal error" }, Status.UNAVAILABLE, /could not do it: internal error/],
    ["nothing that was asked", {}, Status.UNAVAILABLE, /gave no answer/],
  ];
  it("tells what the agent says", async () => {
    await using server = await serve();
    const left = [...answers];
    await running(server, () => left[0]![1]);
    for (; left.length > 0; left.shift()) {
      const [[what, , code, words]] = left as [(typeof answers)[number]];
      await refused(server.vms.pauseVirtualMachine(once()), code, words).catch((cause: unknown) => {
        throw new Error(`of one that says ${what}`, { cause });
      });
    }
  });

  it("says when the agent is silent, and does it under the same id when it is back", async () => {
    await using server = await serve();
    let silent = true;
    const { asked } = await running(server, () => (silent ? undefined : said(DONE)));
    const call = refused(server.vms.resetVirtualMachine(once("r-1")), Status.UNAVAILABLE, /did not answer/);
    await eventually(async () => asked.length === 1);
    server.clock.pass(10_000);
    await call;
    silent = false;
    assert.equal((await server.vms.resetVirtualMachine(once("r-1"))).event!.reason, "Reset");
    assert.deepEqual(asked.map(({ requestId }) => requestId), ["r-1", "r-1"]);
  });

  it("cancels a migration first, and waits for its end", async () => {
    await using server = await serve();
    const { asked } = await running(server);
    await moving(server);
    const call = server.vms.pauseVirtualMachine(once());
    await eventually(async () => {
      const { migration } = await server.migrations.getVirtualMachineInstanceMigration({ namespace: "default", name: "web-1" });
      return migration!.status?.cancelRequested;
    });
    assert.deepEqual(asked, []);
    await write(server, { migration: undefined, epoch: 1 });
    server.clock.pass(200);
    assert.equal((await call).event!.reason, "Paused");
  });

  it("says after a while that the migration has not ended", async () => {
    await using server = await serve();
    const { asked } = await running(server);
    await moving(server, { state: MigrationSourceState.ISSUED });
    await passing(server, refused(server.vms.pauseVirtualMachine(once()), Status.UNAVAILABLE, /has not ended yet/));
    assert.deepEqual(asked, []);
  });

  it("does not touch a guest whose memory is on two hosts, nor lets one go on that a migration stopped", async () => {
    await using server = await serve();
    const { asked } = await running(server);
    await moving(server, { state: MigrationSourceState.ISSUED, mode: MigrationMode.POST_COPY });
    await refused(server.vms.pauseVirtualMachine(once()), Status.FAILED_PRECONDITION, /its memory follows/);
    await refused(server.vms.unpauseVirtualMachine(once()), Status.FAILED_PRECONDITION, /its migration lets the guest go on/);
    assert.deepEqual(asked, []);
  });
});
