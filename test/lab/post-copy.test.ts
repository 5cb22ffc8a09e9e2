/** Post-copy whose network is cut: both halves of the guest stay, the record says what is waited for, and it is made whole. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { MigrationOutcome, MigrationPhase } from "../../gen/drover/v1/migration.ts";
import { MigrationMode } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { GUEST_TICK } from "./guest.ts";
import { Machine } from "./machine.ts";
import { waitFor } from "./process.ts";
import { withFleet } from "./with-fleet.ts";

/** So slow that the guest's memory takes far longer than it takes to cut the cable. */
const SETTINGS = { allowPostCopy: true, bandwidthPerMigration: "4Mi", completionTimeoutPerGib: 4 };
const BREAK_TIMEOUT_MS = 90_000;
const MEND_TIMEOUT_MS = 150_000;

describe("a handoff in post-copy that breaks", function () {
  this.timeout(300_000);
  const fleet = withFleet();

  it("is mended: neither half goes, nobody can cancel it, and the guest runs on at the target", async () => {
    const machine = await Machine.running(fleet(), "halved", { kernelArguments: "dirty=32,100" });
    const before = await machine.tick(({ count }) => count >= 2);
    const [source, uuid] = [fleet().lab.host(await machine.node()), await machine.uuid()];
    const name = await machine.migrate({ settings: SETTINGS });
    const { targetNode } = (await machine.until("an admitted migration", (instance) => instance?.status?.migration !== undefined)).status!.migration!;
    const target = fleet().lab.host(targetNode);
    await machine.until("post-copy on record", (instance) => instance?.status?.migration?.source?.mode === MigrationMode.POST_COPY, 60_000);
    // A guest that counts at the target has there what an emulated processor needs to take interrupts. Its console is still
    // read where the record has it.
    const vmiUid = (await machine.instance())!.metadata!.uid;
    const console = join(fleet().machineDirectory(target, vmiUid), "console.log");
    await waitFor("the guest to count at the target", () => (existsSync(console) && GUEST_TICK.test(readFileSync(console, "utf8"))) || undefined);

    await source.cutLink();
    try {
      const broken = async () => (await source.virsh("domstate", uuid, "--reason")).trim();
      await waitFor("the source to see it break", async () => (await broken()) === "paused (post-copy failed)" || undefined, { timeoutMs: BREAK_TIMEOUT_MS });
    } finally {
      await source.restoreLink();
    }
    assert.deepEqual((await fleet().hostsRunning(uuid)).sort(), [source.name, target.name].sort(), "both halves are there");

    const told = await waitFor("the record to say what it waits for", async () => {
      const { status } = await machine.migration(name);
      const ended = status!.phase === MigrationPhase.SUCCEEDED;
      return ended || status!.waitingFor.some((word) => word.includes("half of the guest")) ? status : undefined;
    }, { timeoutMs: MEND_TIMEOUT_MS });
    if (told!.phase === MigrationPhase.RUNNING) {
      assert.equal(told!.outcome, MigrationOutcome.UNKNOWN);
      assert.match((await fleet().refused("migration", "cancel", name)).message, /its memory follows/);
    }
    const { status } = await machine.migrationEnds(name, MEND_TIMEOUT_MS);
    assert.equal(status?.phase, MigrationPhase.SUCCEEDED, status?.message);
    await machine.assertUnharmed(before);
    assert.equal(await machine.node(), target.name);
  });
});
