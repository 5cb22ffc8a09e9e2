/** On real files, with the real qemu-img. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Bootloader, Disk, DiskCache, DiskFormat, PoolDisk, VirtualMachineVolume } from "../../../../gen/drover/v1/machine.ts";
import type { VirtualMachineInstance } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { systemRandom } from "../../../../lib/random.ts";
import { runCommand } from "../../../../node-agent/storage/command.ts";
import type { RunCommand } from "../../../../node-agent/storage/command.ts";
import { hostStorage } from "../../../../node-agent/storage/host-storage.ts";
import { StorageError } from "../../../../node-agent/storage/storage.ts";
import type { StorageFault } from "../../../../node-agent/storage/storage.ts";
import { instance, VM_UID, VMI_UID } from "../domain/build.ts";

const MEBIBYTE = 1 << 20;

describe("hostStorage", function () {
  this.timeout(20_000);
  let directory: string;
  let pool: string;
  let state: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "drover-storage-"));
    pool = join(directory, "pool");
    state = join(directory, "state");
    await mkdir(pool);
    await mkdir(state);
  });
  afterEach(() => rm(directory, { recursive: true }));

  const storage = (run: RunCommand = runCommand) =>
    hostStorage({ stateDirectory: state, pools: [{ name: "main", path: pool }], random: systemRandom, run, findFirmware: async () => undefined });
  /** Counts the images that are really looked into. */
  const counted = () => {
    let count = 0;
    const counting = storage((command) => ((count += command.args.includes("info") ? 1 : 0), runCommand(command)));
    return { probes: () => count, counting };
  };
  const withDisk = (disk: Partial<PoolDisk>): VirtualMachineInstance => withVolume({ $case: "disk", value: PoolDisk.create({ pool: "main", ...disk }) });
  const withVolume = (source: VirtualMachineVolume["source"]) => instance({}, { volumes: [VirtualMachineVolume.create({ name: "root", source })] });
  const qemuImg = (...args: string[]) => execFileSync("qemu-img", args, { encoding: "utf8" });
  const info = (name: string) => JSON.parse(qemuImg("info", "--output=json", join(pool, name))) as Record<string, unknown>;
  const images = async () => (await readdir(pool)).filter((name) => name !== ".drover-pool-id").sort();
  const faults = (fault: StorageFault) => (error: unknown) => {
    assert.ok(error instanceof StorageError, String(error));
    assert.equal(error.fault, fault, error.message);
    return true;
  };

  describe("images in pools", () => {
    it("are made once and then taken as they are", async () => {
      const first = await storage().prepareDisks(withDisk({ size: "2Mi" }));
      assert.deepEqual(first.disks, { root: { path: join(pool, "default_web_root.qcow2"), format: "qcow2", kind: "pool" } });
      assert.equal(info("default_web_root.qcow2")["virtual-size"], 2 * MEBIBYTE);
      const { ino } = await stat(first.disks["root"]!.path);
      assert.deepEqual((await storage().prepareDisks(withDisk({ size: "4Mi" }))).disks, first.disks);
      assert.equal((await stat(first.disks["root"]!.path)).ino, ino);
      assert.deepEqual(await images(), ["default_web_root.qcow2"]);
    });

    it("are looked into once for a start, when that was done ahead, and without making anything", async () => {
      qemuImg("create", "-q", "-f", "qcow2", join(pool, "base"), "3M");
      const machine = withDisk({ image: "a", baseImage: "base" });
      await storage().prepareDisks(machine);
      const { probes, counting } = counted();
      await counting.inspect(withDisk({ image: "none", size: "1Mi" }));
      assert.deepEqual(await images(), ["a", "base"]);
      await counting.inspect(machine);
      assert.equal(probes(), 2);
      assert.equal((await counting.prepareDisks(machine)).disks["root"]?.path, join(pool, "a"));
      assert.equal(probes(), 2);
      await counting.prepareDisks(machine);
      assert.equal(probes(), 3, "the next start looks into the guest's disk for itself");
    });

    it("are looked into again when they were changed after the look that was made ahead", async () => {
      qemuImg("create", "-q", "-f", "raw", join(pool, "a"), "1M");
      const { counting } = counted();
      const machine = withDisk({ image: "a", format: DiskFormat.RAW });
      await counting.inspect(machine);
      qemuImg("create", "-q", "-f", "qcow2", join(pool, "b"), "1M");
      await writeFile(join(pool, "a"), await readFile(join(pool, "b")));
      await assert.rejects(counting.prepareDisks(machine), faults("FormatMismatch"));
    });

    it("do not keep a look ahead from ending quietly when there is nothing to look into", async () => {
      for (const disk of [{ image: "../a" }, { pool: "none" }, { image: "a", baseImage: "a" }]) await storage().inspect(withDisk(disk));
      assert.deepEqual(await readdir(state), []);
    });

    it("can be raw", async () => {
      await storage().prepareDisks(withDisk({ size: "1Mi", format: DiskFormat.RAW, image: "a.img" }));
      assert.equal((await stat(join(pool, "a.img"))).size, MEBIBYTE);
    });

    it("overlay the declared base, with its size unless a larger one is given", async () => {
      qemuImg("create", "-q", "-f", "raw", join(pool, "base.raw"), "3M");
      const base = { baseImage: "base.raw", baseFormat: DiskFormat.RAW };
      const { disks } = await storage().prepareDisks(withDisk({ image: "a", ...base }));
      assert.deepEqual(disks["root"]?.base, { path: join(pool, "base.raw"), format: "raw" });
      assert.equal(info("a")["virtual-size"], 3 * MEBIBYTE);
      await storage().prepareDisks(withDisk({ image: "b", size: "5Mi", ...base }));
      assert.equal(info("b")["virtual-size"], 5 * MEBIBYTE);
      await assert.rejects(storage().prepareDisks(withDisk({ image: "c", size: "1Mi", ...base })), faults("InvalidSize"));
      assert.deepEqual(await images(), ["a", "b", "base.raw"]);
    });

    it("are refused when their base is missing or stands on another one", async () => {
      await assert.rejects(storage().prepareDisks(withDisk({ image: "a", baseImage: "none" })), faults("ImageMissing"));
      qemuImg("create", "-q", "-f", "qcow2", join(pool, "lowest"), "1M");
      qemuImg("create", "-q", "-f", "qcow2", "-b", join(pool, "lowest"), "-F", "qcow2", join(pool, "middle"));
      await assert.rejects(storage().prepareDisks(withDisk({ image: "a", baseImage: "middle" })), faults("UnsafeImage"));
      await assert.rejects(storage().prepareDisks(withDisk({ image: "a", baseImage: "a" })), faults("InvalidName"));
    });

    it("are refused when their content is not what is declared", async () => {
      qemuImg("create", "-q", "-f", "raw", join(pool, "raw"), "1M");
      qemuImg("create", "-q", "-f", "qcow2", join(pool, "qcow2"), "1M");
      await assert.rejects(storage().prepareDisks(withDisk({ image: "raw" })), faults("FormatMismatch"));
      await assert.rejects(storage().prepareDisks(withDisk({ image: "qcow2", format: DiskFormat.RAW })), faults("FormatMismatch"));
      await writeFile(join(pool, "empty"), "");
      await assert.rejects(storage().prepareDisks(withDisk({ image: "empty", format: DiskFormat.RAW })), faults("UnsafeImage"));
    });

    it("are refused when their header refers to a file of the host", async () => {
      const secret = join(directory, "secret");
      await writeFile(secret, "x".repeat(MEBIBYTE));
      qemuImg("create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", join(pool, "backing"));
      qemuImg("create", "-q", "-f", "qcow2", "-o", `data_file=${secret},data_file_raw=on`, join(pool, "data"), "1M");
      for (const image of ["backing", "data"]) await assert.rejects(storage().prepareDisks(withDisk({ image })), faults("UnsafeImage"), image);
    });

    it("are refused when they are links or no files at all", async () => {
      qemuImg("create", "-q", "-f", "qcow2", join(directory, "elsewhere"), "1M");
      await symlink(join(directory, "elsewhere"), join(pool, "link"));
      await mkdir(join(pool, "directory"));
      execFileSync("mkfifo", [join(pool, "pipe")]);
      for (const image of ["link", "directory", "pipe"]) {
        await assert.rejects(storage().prepareDisks(withDisk({ image, size: "1Mi" })), faults("UnsafeFile"), image);
      }
    });

    it("are never looked for outside the pool", async () => {
      for (const image of ["../secret", "/etc/passwd", ".drover-pool-id", "json:{}"]) {
        await assert.rejects(storage().prepareDisks(withDisk({ image, size: "1Mi" })), faults("InvalidName"), image);
      }
      await assert.rejects(storage().prepareDisks(withDisk({ pool: "other", size: "1Mi" })), faults("PoolMissing"));
    });

    it("need a size to be made", async () => {
      await assert.rejects(storage().prepareDisks(withDisk({})), faults("ImageMissing"));
      assert.deepEqual(await images(), []);
    });
  });

  describe("a try that ends half-way", () => {
    it("leaves no image, and the next one succeeds", async () => {
      const dies: RunCommand = async (command) => {
        await runCommand(command);
        if (command.program === "qemu-img") throw new StorageError("ToolFailed", "killed");
        return "";
      };
      await assert.rejects(storage(dies).prepareDisks(withDisk({ size: "1Mi" })), faults("ToolFailed"));
      assert.deepEqual(await images(), []);
      await writeFile(join(pool, `.drover-new-${VMI_UID}-root`), "half an image, left by a kill");
      await storage().prepareDisks(withDisk({ size: "1Mi" }));
      assert.deepEqual(await images(), ["default_web_root.qcow2"]);
    });

    it("leaves nothing once the machine's files are removed", async () => {
      await writeFile(join(pool, `.drover-new-${VMI_UID}-root`), "");
      await writeFile(join(pool, ".drover-new-another"), "");
      await storage().removeMachineFiles(VMI_UID);
      assert.deepEqual(await images(), [".drover-new-another"]);
    });

    it("never replaces an image that came up meanwhile", async () => {
      const image = join(pool, "default_web_root.qcow2");
      const overtaken: RunCommand = async (command) => {
        if (command.program === "qemu-img") qemuImg("create", "-q", "-f", "qcow2", image, "7M");
        return runCommand(command);
      };
      await storage(overtaken).prepareDisks(withDisk({ size: "1Mi" }));
      assert.equal(info("default_web_root.qcow2")["virtual-size"], 7 * MEBIBYTE);
      assert.deepEqual(await images(), ["default_web_root.qcow2"]);
    });
  });

  describe("a machine's own files", () => {
    const cloudInit = withVolume({ $case: "cloudInitNoCloud", value: { userData: { value: "secret", digest: "" }, networkData: undefined } });

    it("hold cloud-init data that only the owner can read", async () => {
      const { disks } = await storage().prepareDisks(cloudInit);
      assert.deepEqual(disks["root"], { path: join(state, "machines", VMI_UID, "seed-root.iso"), format: "raw", kind: "seed" });
      assert.equal((await stat(disks["root"]!.path)).mode & 0o777, 0o600);
      const content = await readFile(disks["root"]!.path);
      await chmod(disks["root"]!.path, 0o644);
      await storage().prepareIncoming(cloudInit);
      assert.ok((await readFile(disks["root"]!.path)).equals(content));
      assert.equal((await stat(disks["root"]!.path)).mode & 0o777, 0o600);
    });

    it("go with the instance, while images and firmware variables stay", async () => {
      const { paths } = await storage().prepareDisks(withDisk({ size: "1Mi" }));
      await storage().prepareDisks(withVolume({ $case: "emptyDisk", value: { capacity: "1Mi" } }));
      await writeFile(paths.nvram, "");
      assert.deepEqual(await storage().machines(), [VMI_UID]);
      assert.deepEqual(await readdir(paths.directory), ["empty-root.qcow2"]);
      for (const _ of ["once", "again"]) await storage().removeMachineFiles(VMI_UID);
      assert.deepEqual(await storage().machines(), []);
      assert.deepEqual(await images(), ["default_web_root.qcow2"]);
      assert.deepEqual(await readdir(join(state, "nvram")), [`${VM_UID}.fd`]);
    });

    it("are never found through a uid that is none", async () => {
      for (const uid of ["..", "../pool", "", "a/b", "."]) await assert.rejects(storage().removeMachineFiles(uid), faults("InvalidName"), uid);
    });
  });

  describe("firmware variables", () => {
    const efi = () => {
      const machine = instance({}, {});
      machine.spec!.domain!.firmware!.bootloader = Bootloader.fromPartial({ firmware: { $case: "efi", value: {} } });
      return machine;
    };
    const place = { loader: "/loader", nvramTemplate: "/template" };
    const withFirmware = () => hostStorage({ stateDirectory: state, pools: [], random: systemRandom, findFirmware: async () => place });

    it("are known by their machine from before they are made until they are removed", async () => {
      const { paths, firmware } = await withFirmware().prepareDisks(efi());
      assert.deepEqual(firmware, place);
      assert.deepEqual((await withFirmware().firmwareVariables.owners()).map(({ vmUid }) => vmUid), [VM_UID]);
      await writeFile(paths.nvram, "");
      await withFirmware().removeMachineFiles(VMI_UID);
      assert.deepEqual((await readdir(join(state, "nvram"))).sort(), [`${VM_UID}.fd`, `${VM_UID}.json`]);
      for (const _ of ["once", "again"]) await withFirmware().firmwareVariables.remove(VM_UID);
      assert.deepEqual(await readdir(join(state, "nvram")), []);
    });

    it("are nobody's where no machine boots by EFI", async () => {
      await storage().prepareDisks(withDisk({ size: "1Mi" }));
      assert.deepEqual(await storage().firmwareVariables.owners(), []);
    });
  });

  describe("a migration's target", () => {
    it("takes the disks that are there and makes none", async () => {
      await assert.rejects(storage().prepareIncoming(withDisk({ size: "1Mi" })), faults("ImageMissing"));
      assert.deepEqual(await images(), []);
      const { disks } = await storage().prepareDisks(withDisk({ size: "1Mi" }));
      assert.deepEqual((await storage().prepareIncoming(withDisk({ size: "1Mi" }))).disks, disks);
    });

    it("refuses what cannot move", async () => {
      const cached = withDisk({ size: "1Mi" });
      cached.spec!.domain!.devices = { disks: [Disk.create({ name: "root", cache: DiskCache.WRITEBACK })], interfaces: [], rng: undefined };
      await storage().prepareDisks(cached);
      await assert.rejects(storage().prepareIncoming(cached), faults("NotMigratable"));
    });
  });

  it("finds kernels in pools, and says when there is no EFI firmware", async () => {
    const booted = instance({ firmware: { kernelBoot: { pool: "main", kernel: "vmlinuz", initrd: "initrd" } } });
    await writeFile(join(pool, "vmlinuz"), "");
    await assert.rejects(storage().prepareDisks(booted), faults("ImageMissing"));
    await writeFile(join(pool, "initrd"), "");
    assert.deepEqual((await storage().prepareDisks(booted)).kernel, { kernel: join(pool, "vmlinuz"), initrd: join(pool, "initrd") });
    const efi = instance({ firmware: { bootloader: { firmware: { $case: "efi", value: {} } } } });
    await assert.rejects(storage().prepareDisks(efi), faults("FirmwareMissing"));
  });
});

describe("runCommand", () => {
  it("fails with the program's own words", async () => {
    const run = runCommand({ program: "sh", args: ["-c", "echo no luck >&2; exit 3"], timeoutMs: 5000 });
    await assert.rejects(run, (error) => error instanceof StorageError && error.fault === "ToolFailed" && error.message.includes("no luck"));
  });

  it("ends a program that does not end, or does not stop talking", async () => {
    await assert.rejects(runCommand({ program: "sleep", args: ["60"], timeoutMs: 100 }), /stopped by SIGKILL/);
    await assert.rejects(runCommand({ program: "yes", args: [], timeoutMs: 10_000 }), /stopped by SIGKILL/);
  });

  it("says when there is no such program", async () => {
    await assert.rejects(runCommand({ program: "no-such-program", args: [], timeoutMs: 1000 }), StorageError);
  });
});
