/** The answer to a cancellation is exact: each place at which a migration can stand, and the races with the source's word. */
import assert from "node:assert/strict";
import { Status } from "nice-grpc";
import { CancelOutcome } from "../../../../gen/drover/v1/migration.ts";
import { MigrationMode, MigrationSourceReport, MigrationSourceState } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { named, refused, report, serve } from "../sessions/serving.ts";
import type { InstanceMigration } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { enter, MOVE, moving, ONCE } from "./moving.ts";
import type { Moving, Server } from "./moving.ts";

const { ISSUED, STAYED } = MigrationSourceState;

const cancel = async (server: Server, call = {}) => (await server.migrations.cancelMigration({ ...MOVE, ...ONCE, ...call })).migration!.status!;

/** The source says that it begins. */
const issue = ({ client, agent, vmi, uid }: Moving) =>
  client.report({ ...report(agent, vmi, 2, {}), part: { $case: "migrationSource", value: { migrationUid: uid, report: MigrationSourceReport.create({ state: ISSUED, generation: 1 }) } } });

describe("cancelling a migration by the API", () => {
  it("has cancelled what is not entered, and the source can never begin it, whoever enters it later", async () => {
    await using server = await serve();
    const move = await moving(server);
    assert.equal((await cancel(server)).cancelOutcome, CancelOutcome.CANCELLED);
    await enter(server, move);
    await refused(issue(move), Status.FAILED_PRECONDITION, /cancelled before it began/);
  });

  it("has cancelled what is entered and not begun, in the machine's record too", async () => {
    await using server = await serve();
    const move = await moving(server);
    await enter(server, move);
    assert.equal((await cancel(server)).cancelOutcome, CancelOutcome.CANCELLED);
    assert.equal((await server.vmis.getVirtualMachineInstance(named)).virtualMachineInstance!.status!.migration!.abortRequested, true);
    await refused(issue(move), Status.FAILED_PRECONDITION, /shall not begin|cancelled before it began/);
  });

  it("says that the source is told to abort once that has begun", async () => {
    await using server = await serve();
    const move = await moving(server);
    await enter(server, move);
    await issue(move);
    const { cancelOutcome, cancelRequested } = await cancel(server);
    assert.deepEqual([cancelOutcome, cancelRequested], [CancelOutcome.ABORTING, true]);
  });

  const source = (fields: Partial<MigrationSourceReport>) => ({ source: { ...MigrationSourceReport.create({ generation: 1 }), ...fields } });
  const cases: [string, Partial<InstanceMigration>, CancelOutcome][] = [
    ["that the machine has moved", { ...source({ state: ISSUED }), handedOff: true }, CancelOutcome.TOO_LATE],
    ["no more than that it is recorded, where the source has spoken and the story is not told", source({ state: STAYED }), CancelOutcome.REQUESTED],
    ["that a paused guest's source is told to abort", source({ state: ISSUED, mode: MigrationMode.PAUSED }), CancelOutcome.ABORTING],
  ];
  for (const [what, fields, expected] of cases) {
    it(`says ${what}`, async () => {
      await using server = await serve();
      await enter(server, await moving(server), fields);
      assert.equal((await cancel(server)).cancelOutcome, expected);
    });
  }

  it("is refused with the reason in post-copy, and records nothing", async () => {
    await using server = await serve();
    await enter(server, await moving(server), source({ state: ISSUED, mode: MigrationMode.POST_COPY }));
    await refused(cancel(server), Status.FAILED_PRECONDITION, /the guest runs at the target, and its memory follows/);
    assert.equal((await server.migrations.getVirtualMachineInstanceMigration(MOVE)).migration!.status!.cancelRequested, false);
  });

  it("records nothing when it is only asked what it would do", async () => {
    await using server = await serve();
    await enter(server, await moving(server));
    await cancel(server, { validateOnly: true });
    assert.equal((await server.migrations.getVirtualMachineInstanceMigration(MOVE)).migration!.status!.cancelRequested, false);
    assert.equal((await server.vmis.getVirtualMachineInstance(named)).virtualMachineInstance!.status!.migration!.abortRequested, false);
  });

  it("gives a repeat its first answer", async () => {
    await using server = await serve();
    const move = await moving(server);
    const first = await cancel(server, { requestId: "once" });
    await enter(server, move, { handedOff: true });
    assert.deepEqual(await cancel(server, { requestId: "once" }), first);
    assert.equal((await cancel(server)).cancelOutcome, CancelOutcome.TOO_LATE);
  });
});
