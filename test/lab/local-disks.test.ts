/** Disks that are on one host alone: they come along with a guest that writes to them, and are in one place afterwards. */
import assert from "node:assert/strict";
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CancelOutcome, MigrationPhase } from "../../gen/drover/v1/migration.ts";
import { GUEST_DISK_RECORD_OFFSET } from "./guest.ts";
import type { LabHost } from "./host.ts";
import { Machine } from "./machine.ts";
import { waitFor } from "./process.ts";
import { withFleet } from "./with-fleet.ts";

const SLOW_MIBPS = 8;
const BASE_BYTES = 8 << 20;
const RECORD_BYTES = 512;
const POOL_ID = ".drover-pool-id";

const BASE_TEXT = "base";
const OWN_PATTERN = 0x5a;
const OWN_OFFSET = 4 << 20;

const root = { name: "root", disk: { pool: "local", image: "root.raw", size: "16Mi", format: "raw" } };
const overlay = { name: "data", disk: { pool: "local", image: "data.qcow2", baseImage: "base.raw", baseFormat: "raw" } };
const scratch = { name: "scratch", emptyDisk: { capacity: "4Mi" } };
const shared = { name: "shared", disk: { pool: "shared", image: "kept.raw", size: "4Mi", format: "raw" } };
const seed = { name: "seed", cloudInitNoCloud: { userData: "#cloud-config\n" } };
const IMAGES = ["data.qcow2", "root.raw"];

describe("a handoff of a machine with disks of its host's", () => {
  const fleet = withFleet();
  let machine: Machine;

  before(async () => {
    for (const host of hosts()) writeFileSync(join(poolOf(host), "base.raw"), Buffer.alloc(BASE_BYTES, BASE_TEXT));
    const [a, image] = [fleet().lab.host("a"), inside("a", "data.qcow2")];
    await a.run("qemu-img", ["create", "-q", "-f", "qcow2", "-b", inside("a", "base.raw"), "-F", "raw", image]);
    await a.run("qemu-io", ["-f", "qcow2", "-c", `write -q -P ${OWN_PATTERN} ${OWN_OFFSET} 1M`, image]);
    await fleet().drover("node", "cordon", "b");
    machine = await Machine.running(fleet(), "local", { volumes: [root, overlay, scratch, shared, seed] });
    await fleet().drover("node", "uncordon", "b");
  });

  const hosts = (): LabHost[] => fleet().lab.hosts();
  const poolOf = (host: LabHost): string => join(host.localDirectory, "pool");
  const inside = (name: string, image: string): string => join(fleet().lab.host(name).localMount, "pool", image);
  const imagesOn = (name: string): string[] => readdirSync(poolOf(fleet().lab.host(name))).filter((file) => !file.startsWith(".") && file !== "base.raw").toSorted();
  const here = async (): Promise<{ source: string; target: string }> => {
    const source = await machine.node();
    return { source, target: source === "a" ? "b" : "a" };
  };
  const onlyAt = (name: string): Promise<true> =>
    waitFor(`the disks to be on ${name} alone`, () => hosts().every((host) => imagesOn(host.name).join() === (host.name === name ? IMAGES.join() : "")) || undefined);

  /** The guest's newest record, as it stands on the disk of that host. */
  function recorded(name: string): { boot: string; count: number } {
    const bytes = readFileSync(join(poolOf(fleet().lab.host(name)), "root.raw"));
    const text = bytes.subarray(GUEST_DISK_RECORD_OFFSET, GUEST_DISK_RECORD_OFFSET + RECORD_BYTES).toString("latin1");
    const [, boot = "", count = ""] = /^drover-guest boot=(\S+) count=(\d+)/.exec(text) ?? [];
    return { boot, count: Number(count) };
  }

  async function writesOn(name: string, before: { boot: string; count: number }): Promise<void> {
    const after = await waitFor("the guest to write on", () => {
      const found = recorded(name);
      return found.count > before.count ? found : undefined;
    });
    assert.equal(after.boot, before.boot);
  }

  it("takes them along, over the same base, and leaves none behind", async () => {
    const [{ source, target }, tick] = [await here(), await machine.tick(() => true)];
    const before = await waitFor("a record", () => (recorded(source).count > 0 ? recorded(source) : undefined));
    const migration = await machine.migrate();
    const { status } = await machine.migrationEnds(migration);
    assert.equal(status!.phase, MigrationPhase.SUCCEEDED, status!.message);
    assert.ok(status!.progress!.diskTotalBytes > 0, "the disks are counted");
    await machine.assertUnharmed(tick);
    await writesOn(target, before);
    await onlyAt(target);
    const info = JSON.parse(await fleet().lab.host(target).run("qemu-img", ["info", "-U", "--output", "json", inside(target, "data.qcow2")])) as { "backing-filename"?: string };
    assert.match(info["backing-filename"] ?? "", /base\.raw$/);
    const { uid } = (await machine.instance())!.metadata!;
    assert.ok(existsSync(join(fleet().machineDirectory(fleet().lab.host(target), uid), "empty-scratch.qcow2")));
    await waitFor("the run's files to be gone at the source", () => !existsSync(fleet().machineDirectory(fleet().lab.host(source), uid)) || undefined, { timeoutMs: 30_000 });
  });

  it("takes all that the guest sees where the base is another one, and comes back", async () => {
    const { source, target } = await here();
    writeFileSync(join(poolOf(fleet().lab.host(target)), "base.raw"), Buffer.alloc(BASE_BYTES, "else"));
    const [before, tick] = [recorded(source), await machine.tick(() => true)];
    const { status } = await machine.migrationEnds(await machine.migrate());
    assert.equal(status!.phase, MigrationPhase.SUCCEEDED, status!.message);
    assert.ok(status!.progress!.diskTotalBytes >= BASE_BYTES);
    await machine.assertUnharmed(tick);
    await writesOn(target, before);
    await onlyAt(target);
    const back = await machine.migrationEnds(await machine.migrate());
    assert.equal(back.status!.phase, MigrationPhase.SUCCEEDED, back.status!.message);
    await machine.assertUnharmed(tick);
    await writesOn(source, before);
    await onlyAt(source);
  });

  it("keeps them when the move is cancelled, and nothing stays at the target", async () => {
    const [{ source, target }, tick] = [await here(), await machine.tick(() => true)];
    const migration = await machine.migrate({ bandwidthMiBps: SLOW_MIBPS });
    await machine.migrationIn(migration, MigrationPhase.RUNNING);
    await waitFor("the image to be at the target", () => imagesOn(target).length > 0 || undefined);
    const before = recorded(source);
    await fleet().drover("migration", "cancel", migration);
    const { status } = await machine.migrationEnds(migration);
    assert.equal(status!.cancelOutcome, CancelOutcome.CANCELLED);
    await machine.assertUnharmed(tick);
    await writesOn(source, before);
    await onlyAt(source);
  });

  it("removes what is left at a source whose agent died right after the handoff, when it is back", async () => {
    const [{ source, target }, tick] = [await here(), await machine.tick(() => true)];
    const before = recorded(source);
    const migration = await machine.migrate({ bandwidthMiBps: SLOW_MIBPS * 4 });
    await machine.migrationIn(migration, MigrationPhase.RUNNING);
    const uuid = await machine.uuid();
    await waitFor("the guest to be on its way", async () => (await fleet().hostsRunning(uuid)).length === 2 || undefined);
    await fleet().agent(source).kill();
    assert.equal((await machine.migrationEnds(migration)).status!.phase, MigrationPhase.SUCCEEDED);
    assert.deepEqual(imagesOn(source), IMAGES, "nobody was there to remove it");
    await fleet().agent(source).start();
    await onlyAt(target);
    await machine.assertUnharmed(tick);
    await writesOn(target, before);
  });

  it("stays where it is when the pools have one id and are two directories", async () => {
    const [{ source, target }, tick] = [await here(), await machine.tick(() => true)];
    const [own, other] = [source, target].map((name) => poolOf(fleet().lab.host(name))) as [string, string];
    const [remembered, id] = [join(fleet().lab.host(target).localDirectory, "drover/pools/local"), readFileSync(join(other, POOL_ID), "utf8")];
    const becomes = async (text: string) => {
      await fleet().agent(target).kill();
      writeFileSync(join(other, POOL_ID), text);
      rmSync(remembered);
      await fleet().agent(target).start();
      await waitFor("the pool's id to be reported", async () => {
        const { node } = await fleet().api.nodes.getNode({ name: target });
        return node!.status!.report!.pools.some((pool) => pool.id === text.trim()) || undefined;
      });
    };
    await becomes(readFileSync(join(own, POOL_ID), "utf8"));
    // A copy of the pool has a copy of the disk as well.
    for (const image of IMAGES) copyFileSync(join(own, image), join(other, image));
    try {
      const { status } = await machine.migrationEnds(await machine.migrate());
      assert.equal(status!.phase, MigrationPhase.FAILED);
      assert.match(status!.message, /have the same id and are not the same directory/);
      await machine.assertUnharmed(tick);
    } finally {
      for (const image of IMAGES) rmSync(join(other, image));
      await becomes(id);
    }
  });

  it("has lost none of their bytes after all of it, and starts where they are", async () => {
    const { source } = await here();
    await fleet().drover("stop", "local", "--force", "--wait");
    const [host, copy] = [fleet().lab.host(source), join(fleet().lab.host(source).localMount, "copy.raw")];
    await host.run("qemu-img", ["convert", "-O", "raw", inside(source, "data.qcow2"), copy]);
    const bytes = readFileSync(join(host.localDirectory, "copy.raw"));
    const intended = Buffer.alloc(BASE_BYTES, BASE_TEXT).fill(OWN_PATTERN, OWN_OFFSET, OWN_OFFSET + (1 << 20));
    assert.ok(bytes.equals(intended), "the base's bytes, and over them the machine's own");
    await fleet().drover("start", "local", "--wait");
    assert.equal(await machine.node(), source);
    await onlyAt(source);
  });
});
