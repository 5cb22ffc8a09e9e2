import assert from "node:assert/strict";
import { MigrationPhase } from "../../gen/drover/v1/migration.ts";
import { LEASE_MS } from "./fleet.ts";
import { driverOf, faultsOf, recordIsTrue } from "./faults.ts";
import { Machine } from "./machine.ts";
import { signalProcess } from "./proc-table.ts";
import { waitFor } from "./process.ts";
import { withFleet } from "./with-fleet.ts";

/** Long enough to strike in the middle: 128 MiB at this rate takes about ten seconds. */
const BANDWIDTH_MIBPS = 8;
/** A leftover that no event tells of is found by the agent's next listing. */
const LEFTOVER_TIMEOUT_MS = 60_000;
/** Past the lease, and past every budget of a phase that has one. */
const FROZEN_MS = Math.max(2 * LEASE_MS, 35_000);

describe("a part is killed while a guest moves", () => {
  const fleet = withFleet();
  let machine: Machine;
  before(async () => {
    machine = await Machine.running(fleet(), "mover");
  });

  /** Exactly one host has the guest, it is the recorded one, and no migration is open any more. */
  async function assertSettled(migration: string): Promise<void> {
    const { status } = await machine.migrationEnds(migration);
    assert.ok(status!.phase === MigrationPhase.SUCCEEDED || status!.phase === MigrationPhase.FAILED, `phase ${status!.phase}`);
    if (status!.phase === MigrationPhase.FAILED) assert.ok(status!.reason !== 0 && status!.message !== "", "a failure has its reason");
    await machine.until("the grant to be returned", (instance) => instance?.status?.migration === undefined);
    const owner = await machine.node();
    assert.equal(owner, status!.phase === MigrationPhase.SUCCEEDED ? status!.targetNode : status!.sourceNode);
    const uuid = await machine.uuid();
    await waitFor("no second domain anywhere", async () => {
      const where = await fleet().hostsRunning(uuid);
      return (where.length === 1 && where[0] === owner) || undefined;
    }, { timeoutMs: LEFTOVER_TIMEOUT_MS });
  }

  const parts = ["api-server", "controller", "source agent", "target agent", "driver of source agent", "driver of target agent", "source libvirtd", "target libvirtd"];
  for (const part of parts) {
    it(`${part}: the record is true again soon, it ends Succeeded or Failed, with one owner and an unharmed guest`, async () => {
      const [source, target] = (await machine.node()) === "a" ? ["a", "b"] : ["b", "a"];
      const wanted = part.replace("source", "@source").replace("target", "@target");
      const name = wanted.replace(/(.*)@(source|target) (.*)/, (_, lead: string, side: string, rest: string) => `${lead}${rest} ${side === "source" ? source : target}`);
      const fault = faultsOf(fleet(), ["a", "b"]).find((candidate) => candidate.name === name);
      assert.ok(fault, name);
      const before = await machine.tick(() => true);
      const migration = await machine.migrate({ to: target, bandwidthMiBps: BANDWIDTH_MIBPS });
      await machine.migrationIn(migration, MigrationPhase.RUNNING);
      await fault.strike();
      await fault.mend();
      await recordIsTrue(fleet(), machine);
      await assertSettled(migration);
      await machine.assertUnharmed(before);
    });
  }

  it("the source agent is frozen past every deadline, then let go: late arrival is repaired forward", async () => {
    const source = await machine.node();
    const before = await machine.tick(() => true);
    const migration = await machine.migrate({ bandwidthMiBps: BANDWIDTH_MIBPS });
    await machine.migrationIn(migration, MigrationPhase.RUNNING);
    // The record is Running before the call: an agent that is frozen in between has not begun.
    const uuid = await machine.uuid();
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
    await assertSettled(migration);
    assert.equal((await machine.migration(migration)).status!.phase, MigrationPhase.SUCCEEDED, "libvirt carried it on without the agent");
    await machine.assertUnharmed(before);
  });
});
