/** A machine is deleted while it moves: before switchover the move is called off first, and nothing is left on either host. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { MigrationPhase, MigrationReason } from "../../gen/drover/v1/migration.ts";
import type { VirtualMachineInstanceMigrationStatus } from "../../gen/drover/v1/migration.ts";
import { Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { Machine } from "./machine.ts";
import { waitFor } from "./process.ts";
import { withFleet } from "./with-fleet.ts";

/** Far from switchover: 128 MiB at this rate take half a minute. */
const SLOW_MIBPS = 4;
const WATCH_TIMEOUT_MS = 60_000;
/** A leftover that no event tells of is found by the agent's next listing. */
const LEFTOVER_TIMEOUT_MS = 60_000;

describe("a machine that is deleted in its handoff", () => {
  const fleet = withFleet();

  /** No domain, defined or running, by virsh's word, and none of its files. */
  async function assertNothingLeft(domainUuid: string, vmiUid: string): Promise<void> {
    for (const host of fleet().lab.hosts()) {
      const directory = fleet().machineDirectory(host, vmiUid);
      await waitFor(`${host.name} to keep nothing`, async () => {
        const domains = await host.virsh("list", "--all", "--uuid");
        return (!domains.includes(domainUuid) && !existsSync(directory)) || undefined;
      }, { timeoutMs: LEFTOVER_TIMEOUT_MS });
    }
  }

  /** As it was last: a finished migration goes with its machine, so that only a watch sees its end. */
  async function endOf(name: string): Promise<VirtualMachineInstanceMigrationStatus> {
    const watch = fleet().api.migrations.watchVirtualMachineInstanceMigrations(
      { namespace: "default", fromRevision: "", labelSelector: "", fieldSelector: "" }, { signal: AbortSignal.timeout(WATCH_TIMEOUT_MS) },
    );
    for await (const { event } of watch) {
      if (event?.$case === "deleted" && event.value.migration?.metadata?.name === name) return event.value.migration.status!;
    }
    throw new Error(`The watch ended before migration ${name} was gone`);
  }

  it("is called off, and gone on both hosts, its disk free for the next", async () => {
    const machine = await Machine.running(fleet(), "leaver", { image: "left.img" });
    const [uuid, instance] = [await machine.uuid(), (await machine.instance())!];
    const source = fleet().lab.host(instance.status!.nodeName);
    const target = fleet().lab.hosts().find((host) => host !== source)!;
    const migration = await machine.migrate({ bandwidthMiBps: SLOW_MIBPS });
    await machine.migrationIn(migration, MigrationPhase.RUNNING);
    await waitFor("memory to arrive", async () => (await target.virsh("list", "--all", "--uuid")).includes(uuid) || undefined);
    assert.ok(existsSync(fleet().machineDirectory(target, instance.metadata!.uid)));

    const ending = endOf(migration);
    await fleet().drover("delete", "vm", "leaver", "--wait");
    const { phase, reason } = await ending;
    assert.deepEqual([phase, reason], [MigrationPhase.FAILED, MigrationReason.MACHINE_STOPPING], "the move was called off, not waited for");
    assert.equal(await machine.instance(), undefined);
    await assertNothingLeft(uuid, instance.metadata!.uid);

    const next = await Machine.apply(fleet(), "next", { runStrategy: "Always", image: "left.img" });
    await next.phase(Phase.RUNNING);
    await next.delete();
  });

  for (const [moment, waits] of [
    ["as soon as the move is recorded", async () => undefined],
    ["as soon as memory is copied, at full speed", (machine, migration) => machine.migrationIn(migration, MigrationPhase.RUNNING)],
  ] as const satisfies [string, (machine: Machine, migration: string) => Promise<unknown>][]) {
    it(`is gone on both hosts when it is deleted ${moment}`, async () => {
      const machine = await Machine.running(fleet(), "hasty");
      const [uuid, instance] = [await machine.uuid(), (await machine.instance())!];
      await waits(machine, await machine.migrate());
      await fleet().drover("delete", "vm", "hasty", "--wait");
      assert.equal(await machine.instance(), undefined);
      await assertNothingLeft(uuid, instance.metadata!.uid);
    });
  }
});
