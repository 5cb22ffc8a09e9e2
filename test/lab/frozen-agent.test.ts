/** What the kill matrix, with its short budgets, does not have: the agent and its driver are away for longer than libvirt itself waits. */
import assert from "node:assert/strict";
import { MigrationPhase } from "../../gen/drover/v1/migration.ts";
import { LEASE_MS } from "./fleet.ts";
import { driverOf } from "./faults.ts";
import { Machine } from "./machine.ts";
import { signalProcess } from "./proc-table.ts";
import { waitFor } from "./process.ts";
import { withFleet } from "./with-fleet.ts";

/** Long enough to strike in the middle: 128 MiB at this rate takes about ten seconds. */
const BANDWIDTH_MIBPS = 8;
/** A leftover that no event tells of is found by the agent's next listing. */
const LEFTOVER_TIMEOUT_MS = 60_000;
/** Past the lease, every budget of a phase that has one, and libvirt's patience with a silent client. */
const FROZEN_MS = Math.max(2 * LEASE_MS, 35_000);

describe("a handoff whose source agent is frozen", () => {
  const fleet = withFleet();

  it("past every deadline, then let go: late arrival is repaired forward", async () => {
    const machine = await Machine.running(fleet(), "mover");
    const [source, uuid, before] = [await machine.node(), await machine.uuid(), await machine.tick(() => true)];
    const migration = await machine.migrate({ bandwidthMiBps: BANDWIDTH_MIBPS });
    await machine.migrationIn(migration, MigrationPhase.RUNNING);
    // The record is Running before the call: an agent that is frozen in between has not begun.
    await waitFor("the guest to be on its way", async () => (await fleet().hostsRunning(uuid)).length === 2 || undefined);
    const agent = fleet().agent(source);
    const driver = driverOf(agent.pid);
    agent.signal("SIGSTOP");
    signalProcess(driver, "SIGSTOP");
    try {
      await new Promise((resolve) => setTimeout(resolve, FROZEN_MS));
    } finally {
      signalProcess(driver, "SIGCONT");
      agent.signal("SIGCONT");
    }
    const { status } = await machine.migrationEnds(migration);
    assert.equal(status!.phase, MigrationPhase.SUCCEEDED, "libvirt carried it on without the agent");
    await machine.until("the grant to be returned", (instance) => instance?.status?.migration === undefined);
    assert.equal(await machine.node(), status!.targetNode);
    await waitFor("no second domain anywhere", async () => (await fleet().hostsRunning(uuid)).join() === status!.targetNode || undefined, { timeoutMs: LEFTOVER_TIMEOUT_MS });
    await machine.assertUnharmed(before);
  });
});
