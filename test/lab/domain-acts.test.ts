/** Pause, unpause and reset of a real guest: what it does meanwhile, what outlives whom, and what a move has to do with it. */
import assert from "node:assert/strict";
import { MigrationPhase } from "../../gen/drover/v1/migration.ts";
import { DomainState } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { delay, systemClock } from "../../lib/clock.ts";
import { Machine } from "./machine.ts";
import type { Tick } from "./machine.ts";
import { withFleet } from "./with-fleet.ts";

/** The guest counts twice a second. */
const LONG_MS = 2_500;
const SLOW_MIBPS = 8;

describe("a guest that is acted on", () => {
  const fleet = withFleet();
  let machine: Machine;
  before(async () => {
    machine = await Machine.running(fleet(), "acted");
  });

  const host = async () => fleet().lab.host(await machine.node());
  const domainState = async () => (await (await host()).virsh("domstate", await machine.uuid())).trim();
  const recorded = (state: DomainState) => machine.until(`the record to say ${state}`, (instance) => instance?.status?.ownerReport?.state === state);

  async function standsStill(): Promise<Tick> {
    const before = await machine.tick(() => true);
    await delay(systemClock, LONG_MS);
    assert.deepEqual(await machine.tick(() => true), before);
    return before;
  }

  it("stands still from the pause on, over the death of its agent and of its libvirtd, and goes on where it was", async () => {
    const running = await machine.tick(() => true);
    assert.match(await fleet().drover("pause", "acted"), /virtualmachine\/acted paused/);
    assert.equal(await domainState(), "paused");
    const still = await standsStill();
    await recorded(DomainState.PAUSED);
    assert.match(await fleet().drover("get", "vm", "acted"), /Paused/);
    const name = await machine.node();
    await fleet().agent(name).kill();
    await fleet().agent(name).start();
    await (await host()).libvirtd.kill();
    await (await host()).libvirtd.start();
    await standsStill();
    await recorded(DomainState.PAUSED);
    assert.match((await fleet().refused("pause", "acted")).stderr, /AlreadyPaused/);
    assert.match((await fleet().refused("migrate", "acted")).stderr, /Paused/);
    assert.match(await fleet().drover("unpause", "acted"), /unpaused/);
    const after = await machine.tick(({ count }) => count > still.count);
    assert.equal(after.boot, running.boot);
    await recorded(DomainState.RUNNING);
    assert.match((await fleet().refused("unpause", "acted")).stderr, /NotPaused/);
  });

  it("boots anew in the same run when it is reset", async () => {
    const before = await machine.tick(() => true);
    const { metadata } = (await machine.instance())!;
    assert.match(await fleet().drover("reset", "acted"), /reset/);
    await machine.tick(({ boot, count }) => boot !== before.boot && count >= 1);
    assert.equal((await machine.instance())!.metadata!.uid, metadata!.uid);
  });

  it("is paused where it is when it was about to move: the move is cancelled first", async () => {
    const source = await machine.node();
    const migration = await machine.migrate({ bandwidthMiBps: SLOW_MIBPS });
    await machine.migrationIn(migration, MigrationPhase.RUNNING);
    await fleet().drover("pause", "acted");
    const { status } = await machine.migrationEnds(migration);
    assert.equal(status!.phase, MigrationPhase.CANCELLED, status!.message);
    assert.deepEqual([await machine.node(), await domainState()], [source, "paused"]);
    await standsStill();
    await fleet().drover("unpause", "acted");
    await machine.assertUnharmed(await machine.tick(() => true));
  });

  it("is not touched by a node that cannot be reached, and that is said", async () => {
    const name = await machine.node();
    await fleet().agent(name).kill();
    const { api } = fleet();
    await assert.rejects(api.machines.pauseVirtualMachine({ namespace: "default", name: "acted", requestId: "", validateOnly: false }), /is not connected|did not answer/);
    await fleet().agent(name).start();
    assert.equal(await domainState(), "running");
  });
});
