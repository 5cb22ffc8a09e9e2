/** T8: a file of the host as a guest's disk, by a path, a link or one of QEMU's own names for things that are no files. */
import assert from "node:assert/strict";
import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { linkSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { ClientError, Status } from "nice-grpc";
import { DiskFormat } from "../../gen/drover/v1/machine.ts";
import { changed } from "../contract/api-machine.ts";
import { ONCE } from "../contract/auth-server.ts";
import { VMI_UID } from "../unit/node-agent/domain/build.ts";
import { attackedPool, faultOf } from "./pool.ts";
import { startInstalled } from "./server.ts";

const NAMES = [
  "/etc/shadow", "../canary", "../../etc/shadow", "..", ".", "./a", "a/../../canary", "a/b", "pool/a", "-rf", ".drover-pool-id", "a\u0000b", "a\nb", "~/.ssh/id_rsa", "$HOME", "a b",
  "json:{}", 'json:{"driver":"file","filename":"/etc/shadow"}', "fat:/etc", "fat:rw:/etc", "nbd:127.0.0.1:1", "nbd:unix:/run/x", "nbd://127.0.0.1/x", "file:/etc/shadow",
  "host_device:/dev/sda", "blkdebug::/etc/shadow", "https://127.0.0.1/x", "ssh://127.0.0.1/etc/shadow", "rbd:pool/x", "iscsi://127.0.0.1/x", "/dev/fd/0", "/proc/self/fd/3", "fd:3",
];
const ROUNDS = 40;

describe("T8: a file of the host", function () {
  this.timeout(120_000);

  it("is in no name that the API takes", async () => {
    await using server = await startInstalled();
    // What begins with a hyphen is a file of the pool; it is the agent who keeps it from being taken for an option.
    for (const text of NAMES.filter((name) => !name.startsWith("-"))) {
      for (const key of ["image", "baseImage"] as const) {
        const virtualMachine = changed(({ volumes: [volume] }) => {
          if (volume?.source?.$case === "disk") volume.source.value[key] = text;
        });
        await assert.rejects(server.admin.machines.createVirtualMachine({ ...ONCE, virtualMachine }), (error) => error instanceof ClientError && error.code === Status.INVALID_ARGUMENT, `${key}: ${JSON.stringify(text)}`);
      }
    }
  });

  it("is in no name that an agent takes, whatever its server says", async () => {
    using pool = attackedPool();
    for (const image of NAMES) {
      assert.equal(await pool.end({ image, size: "1Mi" }), "InvalidName", image);
      assert.equal(await pool.end({ image: "a", baseImage: image }), "InvalidName", image);
    }
    pool.checkCanary();
    assert.deepEqual(readdirSync(pool.path).filter((name) => name !== ".drover-pool-id"), []);
  });

  it("is not behind a link, a directory, a pipe or a device", async () => {
    using pool = attackedPool();
    symlinkSync(pool.canary, pool.image("link"));
    symlinkSync("/dev/zero", pool.image("device"));
    symlinkSync(join(pool.directory, "absent"), pool.image("dangling"));
    mkdirSync(pool.image("directory"));
    execFileSync("mkfifo", [pool.image("pipe")]);
    execFileSync("mknod", [pool.image("null"), "c", "1", "3"]);
    for (const image of ["link", "device", "dangling", "directory", "pipe", "null"]) {
      for (const format of [DiskFormat.RAW, DiskFormat.QCOW2]) assert.equal(await pool.end({ image, format, size: "1Mi" }), "UnsafeFile", image);
      assert.equal(await pool.end({ image: "own", baseImage: image, baseFormat: DiskFormat.RAW }), "UnsafeFile", image);
    }
    pool.checkCanary();
  });

  it("is not made, written or read when links are swapped in while images are made", async () => {
    using pool = attackedPool();
    pool.qemuImg("create", "-q", "-f", "qcow2", "base", "1M");
    const places = ["disk", `.drover-new-${VMI_UID}-root`].map(pool.image);
    const swapper = fork(new URL("./swap-worker.ts", import.meta.url), [pool.canary, ...places]);
    try {
      const ends = new Map<string, number>();
      for (let round = 0; round < ROUNDS; round += 1) {
        const end = await pool.start({ image: "disk", baseImage: "base" }).then(() => "OK", (error: unknown) => faultOrCode(error));
        ends.set(end, (ends.get(end) ?? 0) + 1);
      }
      swapper.send("how many");
      const [swaps] = (await once(swapper, "message")) as [number];
      assert.ok(swaps > ROUNDS, `only ${swaps} swaps`);
      // Neither "it is all refused" nor "it was never in the way" would prove anything.
      assert.ok(ends.size > 1, JSON.stringify([...ends]));
    } finally {
      swapper.kill("SIGKILL");
      await once(swapper, "exit");
    }
    pool.checkCanary();
    for (const name of readdirSync(pool.path, { withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => entry.name)) {
      assert.ok(!readFileSync(pool.image(name)).includes("the canary"), name);
    }
  });

  it("is not reached when the pool itself is put elsewhere in the middle", async () => {
    using pool = attackedPool();
    pool.qemuImg("create", "-q", "-f", "qcow2", "a", "1M");
    assert.equal(await pool.end({ image: "a" }), "OK");
    renameSync(pool.path, `${pool.path}-away`);
    mkdirSync(pool.path);
    linkSync(pool.canary, pool.image("a"));
    assert.equal(await pool.end({ image: "a", format: DiskFormat.RAW }), "PoolMissing");
  });
});

/** Where a link was in the way of what is made anew, the file system says so itself. */
const faultOrCode = (error: unknown): string => (error instanceof Error && "code" in error ? String(error.code) : faultOf(error));
