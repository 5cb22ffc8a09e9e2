/** Parts that die while a machine's disks are copied: the bytes are in one place afterwards, whole, and nowhere else. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MigrationPhase } from "../../gen/drover/v1/migration.ts";
import { faultsOf, recordIsTrue } from "./faults.ts";
import { Machine } from "./machine.ts";
import { waitFor } from "./process.ts";
import { withFleet } from "./with-fleet.ts";

const SLOW_MIBPS = 8;
const MIB = 1 << 20;
const BULK_BYTES = 40 * MIB;
const BLOCK_BYTES = 512;
const IMAGES = ["bulk.raw", "root.raw"];
const LEFTOVER_TIMEOUT_MS = 90_000;

const volumes = [
  { name: "root", disk: { pool: "local", image: "root.raw", size: "4Mi", format: "raw" } },
  { name: "bulk", disk: { pool: "local", image: "bulk.raw", size: `${BULK_BYTES / MIB}Mi`, format: "raw" } },
];

describe("a handoff in mid-copy of its disks", () => {
  const fleet = withFleet();
  let machine: Machine;

  before(async () => {
    writeFileSync(path("a", "bulk.raw"), Buffer.alloc(BULK_BYTES, "bulk"));
    await fleet().drover("node", "cordon", "b");
    machine = await Machine.running(fleet(), "bulky", { volumes });
    await fleet().drover("node", "uncordon", "b");
  });

  const pool = (name: string): string => join(fleet().lab.host(name).localDirectory, "pool");
  const path = (name: string, image: string): string => join(pool(name), image);
  const imagesOn = (name: string): string[] => readdirSync(pool(name)).filter((file) => !file.startsWith(".")).toSorted();

  /** Answers when some of the bytes have arrived, and most have not. */
  async function underWay(): Promise<{ migration: string; source: string; target: string }> {
    await machine.until("no migration to be open", (instance) => instance?.status?.migration === undefined, 90_000);
    const source = await machine.node();
    const target = source === "a" ? "b" : "a";
    const migration = await machine.migrate({ to: target, bandwidthMiBps: SLOW_MIBPS });
    await machine.migrationIn(migration, MigrationPhase.RUNNING);
    await waitFor("bytes to arrive", () => {
      const arrived = imagesOn(target).includes("bulk.raw") ? statSync(path(target, "bulk.raw")).blocks * BLOCK_BYTES : 0;
      return (arrived > MIB && arrived < BULK_BYTES) || undefined;
    });
    return { migration, source, target };
  }

  async function settled(migration: string): Promise<void> {
    const { status } = await machine.migrationEnds(migration, 120_000);
    const moved = status!.phase === MigrationPhase.SUCCEEDED;
    assert.ok(moved || status!.phase === MigrationPhase.FAILED, `phase ${status!.phase}`);
    const [owner, other] = moved ? [status!.targetNode, status!.sourceNode] : [status!.sourceNode, status!.targetNode];
    assert.equal(await machine.node(), owner);
    await waitFor(`the disks to be on ${owner} alone`, () => (imagesOn(owner).join() === IMAGES.join() && imagesOn(other).length === 0) || undefined, { timeoutMs: LEFTOVER_TIMEOUT_MS });
    assert.ok(readFileSync(path(owner, "bulk.raw")).equals(Buffer.alloc(BULK_BYTES, "bulk")), "every byte is there");
  }

  const parts = ["source agent", "target libvirtd", "source libvirtd", "controller"];
  for (const part of parts) {
    it(`${part}: one place has the bytes, and the guest goes on there`, async () => {
      const before = await machine.tick(() => true);
      const { migration, source, target } = await underWay();
      const name = part.replace(/(source|target) (.*)/, (_, side: string, rest: string) => `${rest} ${side === "source" ? source : target}`);
      const fault = faultsOf(fleet(), ["a", "b"]).find((candidate) => candidate.name === name);
      assert.ok(fault, name);
      await fault.strike();
      await fault.mend();
      await recordIsTrue(fleet(), machine);
      await settled(migration);
      await machine.assertUnharmed(before);
    });
  }
});
