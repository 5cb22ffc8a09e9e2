/** Guests that change their memory faster than it can be sent, on real hosts: every policy ends, and none harms the guest. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { MigrationPhase, MigrationReason } from "../../gen/drover/v1/migration.ts";
import type { VirtualMachineInstanceMigration } from "../../gen/drover/v1/migration.ts";
import { MigrationMode, MigrationTimeoutAction } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { MigrationSettings } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { Machine } from "./machine.ts";
import { waitFor } from "./process.ts";
import { withFleet } from "./with-fleet.ts";

/** 48 MiB are written again and again, which at this bandwidth is six seconds of sending. */
const DIRTY = "dirty=48,400";
const SLOW = { bandwidthPerMigration: "8Mi" };
/** The limit is never below twice the forecast, so that what is set to less than that is longer in the record. */
const LIMIT_SECONDS = 15;
const END_TIMEOUT_MS = 150_000;
const STANDSTILL_TIMEOUT_MS = 120_000;
const POLICY = `apiVersion: migrations.kubevirt.io/v1alpha1
kind: MigrationPolicy
metadata: {name: dirtiers}
spec:
  selectors: {virtualMachineInstanceSelector: {writes: much}}
  bandwidthPerMigration: ${SLOW.bandwidthPerMigration}
  completionTimeoutPerGiB: ${LIMIT_SECONDS}
`;

describe("convergence of a handoff", function () {
  this.timeout(240_000);
  const fleet = withFleet();
  let machine: Machine;
  before(async () => {
    const file = join(fleet().lab.directory, "policy.yaml");
    writeFileSync(file, POLICY);
    await fleet().drover("apply", "-f", file);
    machine = await Machine.running(fleet(), "dirtier", { kernelArguments: DIRTY, labels: { writes: "much" } });
  });

  const moved = async (settings: MigrationSettings): Promise<VirtualMachineInstanceMigration> => {
    const before = await machine.tick(() => true);
    const migration = await machine.migrationEnds(await machine.migrate({ settings }), END_TIMEOUT_MS);
    const { status } = migration;
    await machine.until("the grant to be returned", (instance) => instance?.status?.migration === undefined);
    assert.equal(await machine.node(), status!.phase === MigrationPhase.SUCCEEDED ? status!.targetNode : status!.sourceNode);
    await machine.assertUnharmed(before);
    return migration;
  };
  const assertMoved = ({ status }: VirtualMachineInstanceMigration): void =>
    assert.equal(status?.phase, MigrationPhase.SUCCEEDED, `${status?.reason}: ${status?.message}`);

  it("that is to be given up ends Failed with NOT_CONVERGING, and the guest goes on where it was", async () => {
    const { status } = await moved({});
    assert.deepEqual([status?.phase, status?.reason], [MigrationPhase.FAILED, MigrationReason.NOT_CONVERGING], status?.message);
    const limitSeconds = status!.options!.completionTimeoutSeconds;
    assert.ok(limitSeconds >= LIMIT_SECONDS);
    assert.match(status!.message, new RegExp(`^it did not converge within ${limitSeconds} s: .* MiB left in round \\d+ at `));
    assert.equal(status!.options?.policyName, "dirtiers");
    assert.match(status!.options!.why, /policy "dirtiers" names most labels/);
    assert.ok(status!.progress!.iteration > 1 && status!.progress!.dirtyBytesPerSecond > 0 && status!.progress!.downtimeLimitMs >= 300, JSON.stringify(status!.progress));
  });

  it("that stalls is given up before its limit", async () => {
    const { status } = await moved({ progressTimeoutSeconds: 8, completionTimeoutPerGib: 0, maxDowntimeMs: 300 });
    assert.deepEqual([status?.phase, status?.reason], [MigrationPhase.FAILED, MigrationReason.NOT_CONVERGING], status?.message);
    assert.match(status!.message, /^no less was left in 8 s: /);
  });

  it("by pausing the guest ends Succeeded, with the guest running at the target", async () => {
    const migration = await moved({ timeoutAction: MigrationTimeoutAction.PAUSE });
    assertMoved(migration);
    assert.equal(migration.status?.mode, MigrationMode.PAUSED);
  });

  it("of a paused guest that is cancelled leaves it running at the source", async () => {
    const before = await machine.tick(() => true);
    const name = await machine.migrate({ settings: { timeoutAction: MigrationTimeoutAction.PAUSE, completionTimeoutPerGib: 12, bandwidthPerMigration: "4Mi" } });
    const host = fleet().lab.host(await machine.node());
    const uuid = await machine.uuid();
    await waitFor("the guest to be paused", async () => (await host.virsh("domstate", uuid)).startsWith("paused") || undefined, { timeoutMs: STANDSTILL_TIMEOUT_MS });
    await fleet().drover("migration", "cancel", name);
    const { status } = await machine.migrationEnds(name);
    assert.equal(status?.phase, MigrationPhase.CANCELLED, status?.message);
    await waitFor("the guest to run again", async () => (await host.virsh("domstate", uuid)).startsWith("running") || undefined);
    await machine.assertUnharmed(before);
  });

  it("by a longer switch-over ends Succeeded, and the command tells every second of it as a line of JSON", async () => {
    const before = await machine.tick(() => true);
    const output = await fleet().drover("migrate", machine.name, "--max-downtime", "20000", "--limit", "120", "--wait", "-o", "json");
    const told = output.trim().split("\n").map((line) => JSON.parse(line) as { status: { phase: string; progress?: { elapsedMs?: number } } });
    assert.equal(told.at(-1)?.status.phase, "Succeeded");
    const moments = new Set(told.filter(({ status }) => status.phase === "Running").map(({ status }) => status.progress?.elapsedMs ?? 0));
    // Records have figures every ten seconds at most.
    assert.ok(moments.size >= 5, `${[...moments].join(", ")} ms`);
    await machine.assertUnharmed(before);
  });

  it("by slowing the guest down ends Succeeded", async () => {
    assertMoved(await moved({ allowAutoConverge: true, maxDowntimeMs: 3_000, completionTimeoutPerGib: 120, bandwidthPerMigration: "24Mi" }));
  });

  it("by post-copy ends Succeeded, and cannot be cancelled meanwhile", async () => {
    const before = await machine.tick(() => true);
    const name = await machine.migrate({ settings: { ...SLOW, allowPostCopy: true, completionTimeoutPerGib: 8 } });
    await waitFor("post-copy", async () => {
      const mode = (await machine.instance())?.status?.migration?.source?.mode;
      return mode === MigrationMode.POST_COPY || undefined;
    }, { timeoutMs: STANDSTILL_TIMEOUT_MS });
    const refused = await fleet().refused("migration", "cancel", name);
    assert.match(refused.message, /the guest runs at the target, and its memory follows/);
    const migration = await machine.migrationEnds(name);
    assertMoved(migration);
    assert.equal(migration.status?.mode, MigrationMode.POST_COPY);
    await machine.assertUnharmed(before);
  });

  it("over several connections ends Succeeded", async () => {
    assertMoved(await moved({ parallelConnections: 4, bandwidthPerMigration: "0", maxDowntimeMs: 5_000, downtimeSteps: 1, completionTimeoutPerGib: 120 }));
  });
});
