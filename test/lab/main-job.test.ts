import assert from "node:assert/strict";
import { ConditionStatus } from "../../gen/drover/v1/meta.ts";
import type { Condition } from "../../gen/drover/v1/meta.ts";
import { Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { MigrationPhase } from "../../gen/drover/v1/migration.ts";
import { Machine } from "./machine.ts";
import { withFleet } from "./with-fleet.ts";

describe("the main job on two hosts", () => {
  const fleet = withFleet();

  it("creates, starts, moves, restarts, stops and deletes one guest", async () => {
    const machine = await Machine.apply(fleet(), "web");
    assert.deepEqual(await fleet().hostsRunning(await machine.uuid()), [], "Manual does not start by itself");

    await fleet().drover("start", "web", "--wait");
    const first = await machine.tick(({ count }) => count >= 2);
    const from = await machine.node();
    assert.deepEqual(await fleet().hostsRunning(await machine.uuid()), [from]);

    await fleet().drover("migrate", "web", "--wait");
    const to = await machine.node();
    assert.notEqual(to, from);
    const moved = await machine.assertUnharmed(first);

    await fleet().drover("restart", "web", "--wait");
    const again = await machine.tick(({ boot }) => boot !== moved.boot);
    assert.notEqual(again.boot, moved.boot);
    assert.equal((await fleet().hostsRunning(await machine.uuid())).length, 1);

    await fleet().drover("stop", "web", "--wait");
    assert.deepEqual(await fleet().hostsRunning(await machine.uuid()), []);
    assert.equal(await machine.instance(), undefined);

    await fleet().drover("delete", "vm", "web", "--wait");
    for (const host of fleet().lab.hosts()) assert.equal((await host.virsh("list", "--all", "--name")).trim(), "", "no domain is left defined");
    assert.match((await fleet().refused("get", "vm", "web")).stderr, /not find|NOT_FOUND/i);
  });

  it("keeps a guest off that shut itself down under RerunOnFailure, and starts it again under Always", async () => {
    const stays = await Machine.apply(fleet(), "stays", { runStrategy: "RerunOnFailure", kernelArguments: "offafter=3" });
    const again = await Machine.apply(fleet(), "again", { runStrategy: "Always", kernelArguments: "offafter=3" });
    const first = (await again.phase(Phase.RUNNING)).metadata!.uid;
    await stays.phase(Phase.RUNNING);
    await stays.until("the run to end", (instance) => instance === undefined);
    await again.until("another run", (instance) => instance !== undefined && instance.metadata!.uid !== first && instance.status?.phase === Phase.RUNNING);
    assert.equal(await stays.instance(), undefined);
    await stays.delete();
    await again.delete();
  });

  it("refuses a second machine that names the same writable volume, until the first gives it back", async () => {
    const first = await Machine.running(fleet(), "holder", { image: "contended.img" });
    const second = await Machine.apply(fleet(), "loser", { runStrategy: "Always", image: "contended.img" });
    const refused = await second.until("the volume to be refused", (instance) =>
      instance?.status?.conditions.some(({ type, reason }) => type === "VolumesHeld" && reason === "VolumeInUse") ?? false);
    assert.equal(refused.status!.nodeName, "", "it was not bound");
    assert.match(await fleet().drover("explain", "vm", "loser"), /holder/);
    await first.delete();
    await second.phase(Phase.RUNNING);
    await second.delete();
  });

  it("moves a machine only where it may go, and says all reasons why not", async () => {
    const machine = await Machine.running(fleet(), "picky");
    const here = await machine.node();
    const other = here === "a" ? "b" : "a";
    assert.match((await fleet().refused("migrate", "picky", "--to", here)).stderr, /TARGET_IS_SOURCE|already/i);
    assert.match((await fleet().refused("migrate", "picky", "--to", "nowhere")).stderr, /nowhere/);
    await fleet().drover("node", "cordon", other);
    assert.match((await fleet().refused("migrate", "picky", "--to", other)).stderr, /cordon/i);
    await fleet().drover("node", "uncordon", other);
    assert.match((await fleet().refused("migrate", "picky", "--to", other, "-l", "rack=z")).stderr, /lacks the labels rack=z/);
    const host = fleet().lab.host(here);
    const isPaused = ({ type, status }: Condition) => type === "Paused" && status === ConditionStatus.TRUE;
    await host.virsh("suspend", await machine.uuid());
    await machine.until("the pause to be known", (instance) => instance?.status?.conditions.some(isPaused) ?? false);
    assert.match((await fleet().refused("migrate", "picky", "--to", other)).stderr, /paused/i);
    await host.virsh("resume", await machine.uuid());
    await machine.until("the pause to be over", (instance) => !(instance?.status?.conditions.some(isPaused) ?? true));
    const name = await machine.migrate({ to: other, bandwidthMiBps: 8 });
    await machine.migrationIn(name, MigrationPhase.RUNNING);
    assert.match((await fleet().refused("migrate", "picky")).stderr, /migrating/i);
    assert.equal((await machine.migrationEnds(name)).status!.phase, MigrationPhase.SUCCEEDED);
    assert.equal(await machine.node(), other);
    await machine.delete();
    assert.match((await fleet().refused("migrate", "picky")).stderr, /not find|NOT_FOUND/i);
  });

  it("does what stop, delete and cancel mean in a handoff", async () => {
    const cancelled = await Machine.running(fleet(), "undecided");
    const before = await cancelled.tick(() => true);
    const from = await cancelled.node();
    const first = await cancelled.migrate({ bandwidthMiBps: 8 });
    await cancelled.migrationIn(first, MigrationPhase.RUNNING);
    await fleet().drover("migration", "cancel", first);
    assert.equal((await cancelled.migrationEnds(first)).status!.phase, MigrationPhase.CANCELLED);
    assert.equal(await cancelled.node(), from);
    await cancelled.assertUnharmed(before);

    const second = await cancelled.migrate({ bandwidthMiBps: 8 });
    await cancelled.migrationIn(second, MigrationPhase.RUNNING);
    await fleet().drover("stop", "undecided", "--wait");
    assert.deepEqual(await fleet().hostsRunning(await cancelled.uuid()), []);
    const ended = await cancelled.migrationEnds(second);
    assert.notEqual(ended.status!.phase, MigrationPhase.SUCCEEDED);
    await fleet().drover("delete", "vm", "undecided", "--wait");
  });
});
