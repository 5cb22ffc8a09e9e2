/** Disks that a migration copies, on real files with the real qemu-img: what is offered, what is made for it, what is never touched. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DiskFormat, PoolDisk, VirtualMachineVolume } from "../../../../gen/drover/v1/machine.ts";
import { DiskCopy, InstanceMigration } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import type { OfferedDisk, VirtualMachineInstance } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { systemRandom } from "../../../../lib/random.ts";
import { hostStorage } from "../../../../node-agent/storage/host-storage.ts";
import { StorageError } from "../../../../node-agent/storage/storage.ts";
import type { StorageFault } from "../../../../node-agent/storage/storage.ts";
import { instance, VMI_UID } from "../domain/build.ts";

const MEBIBYTE = 1 << 20;

describe("disks that a migration copies", function () {
  this.timeout(30_000);
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "drover-copies-"));
    for (const host of ["a", "b"]) for (const path of ["pool", "state"]) await mkdir(join(directory, host, path), { recursive: true });
  });
  afterEach(() => rm(directory, { recursive: true }));

  type Host = "a" | "b";
  const at = (host: Host, ...path: string[]) => join(directory, host, ...path);
  const pool = (host: Host, name: string) => at(host, "pool", name);
  const storage = (host: Host, poolPath = at(host, "pool")) =>
    hostStorage({ stateDirectory: at(host, "state"), pools: [{ name: "main", path: poolPath }], random: systemRandom, findFirmware: async () => undefined });
  const qemuImg = (...args: string[]) => execFileSync("qemu-img", args, { encoding: "utf8" });
  const info = (path: string) => JSON.parse(qemuImg("info", "--output=json", path)) as { "virtual-size": number; "backing-filename"?: string };
  const disk = (fields: Partial<PoolDisk> = {}): VirtualMachineVolume["source"] => ({ $case: "disk", value: PoolDisk.create({ pool: "main", image: "root.qcow2", ...fields }) });
  const faults = (fault: StorageFault, text = /./) => (error: unknown) => {
    assert.ok(error instanceof StorageError, String(error));
    assert.equal(error.fault, fault, error.message);
    assert.match(error.message, text);
    return true;
  };

  type Moving = { uid?: string; disks?: OfferedDisk[]; copied?: boolean; proofs?: Record<string, string> };

  function moving(source: VirtualMachineVolume["source"], { uid = "migration-1", disks = [], copied = true, proofs = {} }: Moving = {}): VirtualMachineInstance {
    const made = instance({}, { volumes: [VirtualMachineVolume.create({ name: "root", source })] });
    made.status!.migration = InstanceMigration.create({
      uid, copiedDisks: copied ? [{ volume: "root", sourceVolume: "of-a.root", targetVolume: "of-b.root" }] : [], source: { disks }, target: { poolProofs: proofs },
    });
    return made;
  }

  /** As the target's agent is told of it once the source has looked. */
  async function offered(source: VirtualMachineVolume["source"], more: Moving = {}): Promise<VirtualMachineInstance> {
    return moving(source, { ...more, disks: await storage("a").copies.offer(moving(source, more)) });
  }

  it("are made anew at the target, in the size that they have and not in the one that was asked for", async () => {
    qemuImg("create", "-q", "-f", "qcow2", pool("a", "root.qcow2"), "3M");
    const received = await storage("b").copies.receive(await offered(disk({ size: "1Mi" })));
    assert.deepEqual(received, { diskCopy: DiskCopy.OVERLAYS, poolProofs: {} });
    assert.equal(info(pool("b", "root.qcow2"))["virtual-size"], 3 * MEBIBYTE);
  });

  it("raw ones as well", async () => {
    await writeFile(pool("a", "root.raw"), Buffer.alloc(2 * MEBIBYTE, 1));
    await storage("b").copies.receive(await offered(disk({ image: "root.raw", format: DiskFormat.RAW })));
    const made = await stat(pool("b", "root.raw"));
    assert.equal(made.size, 2 * MEBIBYTE);
    assert.ok(made.blocks <= 8, "nothing is in it yet");
  });

  async function withBases(ofB: Buffer | undefined): Promise<VirtualMachineInstance> {
    await writeFile(pool("a", "base.raw"), Buffer.alloc(MEBIBYTE, 1));
    if (ofB) await writeFile(pool("b", "base.raw"), ofB);
    const overlay = disk({ baseImage: "base.raw", baseFormat: DiskFormat.RAW });
    await storage("a").prepareDisks(moving(overlay));
    return offered(overlay);
  }

  it("lie over the base that is the same at both", async () => {
    const coming = await withBases(Buffer.alloc(MEBIBYTE, 1));
    assert.equal((await storage("b").copies.receive(coming)).diskCopy, DiskCopy.OVERLAYS);
    assert.equal(info(pool("b", "root.qcow2"))["backing-filename"], pool("b", "base.raw"));
    assert.deepEqual((await storage("b").prepareIncoming(coming)).disks["root"]?.base, { path: pool("b", "base.raw"), format: "raw" });
  });

  it("have no base where the target's is another one of the same size, or none", async () => {
    for (const base of [Buffer.alloc(MEBIBYTE, 2), undefined]) {
      const coming = await withBases(base);
      assert.equal((await storage("b").copies.receive(coming)).diskCopy, DiskCopy.FULL);
      assert.equal(info(pool("b", "root.qcow2"))["backing-filename"], undefined);
      assert.equal((await storage("b").prepareIncoming(coming)).disks["root"]?.base, undefined);
      for (const host of ["a", "b"] as const) await rm(pool(host, "root.qcow2"));
      await rm(at("b", "state", "transfers"), { recursive: true });
    }
  });

  it("of a run alone are in its own directory", async () => {
    const empty: VirtualMachineVolume["source"] = { $case: "emptyDisk", value: { capacity: "4Mi" } };
    await storage("a").prepareDisks(moving(empty));
    const coming = await offered(empty);
    await storage("b").copies.receive(coming);
    const { disks } = await storage("b").prepareIncoming(coming);
    assert.equal(disks["root"]?.path, at("b", "state", "machines", VMI_UID, "empty-root.qcow2"));
    assert.equal(info(disks["root"].path)["virtual-size"], 4 * MEBIBYTE);
  });

  it("never take the place of an image that is nobody's leftover", async () => {
    qemuImg("create", "-q", "-f", "qcow2", pool("a", "root.qcow2"), "1M");
    await writeFile(pool("b", "root.qcow2"), "somebody's");
    await assert.rejects(storage("b").copies.receive(await offered(disk())), faults("NotMigratable", /exists already/));
    assert.equal(await readFile(pool("b", "root.qcow2"), "utf8"), "somebody's");
  });

  it("take the place of what an earlier migration of the machine left, and the account of it", async () => {
    qemuImg("create", "-q", "-f", "qcow2", pool("a", "root.qcow2"), "1M");
    await storage("b").copies.receive(await offered(disk(), { uid: "migration-1" }));
    await writeFile(pool("b", "root.qcow2"), "what came of the first");
    await storage("b").copies.receive(await offered(disk(), { uid: "migration-2" }));
    assert.equal(info(pool("b", "root.qcow2"))["virtual-size"], MEBIBYTE);
    const accounts = storage("b").transfers.list().map(({ migrationUid, images }) => `${migrationUid}: ${images.length}`);
    assert.deepEqual(accounts.toSorted(), ["migration-1: 0", "migration-2: 1"]);
  });

  it("stay as they are when the same migration is prepared again: its call may have begun", async () => {
    qemuImg("create", "-q", "-f", "qcow2", pool("a", "root.qcow2"), "1M");
    const coming = await offered(disk());
    await storage("b").copies.receive(coming);
    const { ino } = await stat(pool("b", "root.qcow2"));
    await storage("b").copies.receive(coming);
    assert.equal((await stat(pool("b", "root.qcow2"))).ino, ino);
  });

  it("are not made where they do not fit, what others are promised counted", async () => {
    qemuImg("create", "-q", "-f", "qcow2", pool("a", "root.qcow2"), "1M");
    const { disks } = (await offered(disk())).status!.migration!.source!;
    const large = moving(disk(), { disks: disks.map((one) => ({ ...one, virtualSizeBytes: 2 ** 50, allocatedBytes: 2 ** 50 })) });
    await assert.rejects(storage("b").copies.receive(large), faults("NoSpace", /has room for/));
    storage("b").transfers.write({ migrationUid: "other", namespace: "", vm: "", vmUid: "", vmiUid: "", bytes: { main: 2 ** 50 }, images: [], proofs: [] });
    await assert.rejects(storage("b").copies.receive(await offered(disk())), faults("NoSpace", /room for 0/));
    assert.deepEqual((await readdir(at("b", "pool"))).filter((name) => !name.startsWith(".")), []);
  });

  it("are not made before the source has said what they are like", async () => {
    await assert.rejects(storage("b").copies.receive(moving(disk())), faults("NotMigratable", /has not said/));
  });

  describe("and pools that are not copied", () => {
    const sharing = (proofs: Record<string, string> = {}, uid = "migration-1") => moving(disk(), { copied: false, proofs, uid });

    it("are proved to be one by a word that the target writes and the source reads", async () => {
      const [source, target] = [storage("a"), storage("b", at("a", "pool"))];
      const { poolProofs } = await target.copies.receive(sharing());
      await source.copies.verify(sharing(poolProofs));
      assert.deepEqual((await target.copies.receive(sharing())).poolProofs, poolProofs, "whoever prepares again does not take the word back");
      await target.copies.removeProofs(target.transfers.list()[0]!);
      assert.deepEqual((await readdir(at("a", "pool"))).filter((name) => name.includes("proof")), []);
    });

    it("are told apart though one was copied from the other, with its id and all", async () => {
      await storage("a").pools();
      await storage("b", at("a", "pool")).copies.receive(sharing());
      await rm(at("b"), { recursive: true });
      await cp(at("a"), at("b"), { recursive: true });
      const ids = (await Promise.all([storage("a").pools(), storage("b").pools()])).map(([one]) => one!.id);
      assert.equal(ids[0], ids[1]);
      const { poolProofs } = await storage("b").copies.receive(sharing({}, "migration-2"));
      await assert.rejects(storage("a").copies.verify(sharing(poolProofs, "migration-2")), faults("NotMigratable", /not the same directory/));
    });

    it("need a proof each", async () => {
      await assert.rejects(storage("a").copies.verify(sharing()), faults("NotMigratable"));
    });
  });
});
