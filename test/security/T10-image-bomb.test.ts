/** T10: a small image that claims to be a huge one, or is the top of a long chain, or costs its reader more than it should. */
import assert from "node:assert/strict";
import { openSync, closeSync, readFileSync, statSync, writeFileSync, writeSync } from "node:fs";
import { ClientError, Status } from "nice-grpc";
import { runCommand } from "../../node-agent/storage/command.ts";
import { Sandbox } from "../../node-agent/storage/sandbox.ts";
import { changed } from "../contract/api-machine.ts";
import { ONCE } from "../contract/auth-server.ts";
import { attackedPool } from "./pool.ts";
import { startInstalled } from "./server.ts";

const CHAIN_LENGTH = 250;
const PATIENCE_MS = 15_000;

describe("T10: images that are bombs", function () {
  this.timeout(120_000);

  it("are refused when they claim 60 TiB, however small they are", async () => {
    using pool = attackedPool();
    pool.qemuImg("create", "-q", "-f", "qcow2", "x", "60T");
    assert.ok(statSync(pool.image("x")).size < 2 << 20);
    await assert.rejects(pool.start({ image: "x" }), { fault: "UnsafeImage", message: /its virtual size of 65970697666560 bytes is above 16Ti/ });
    assert.equal(await pool.end({ image: "own", baseImage: "x" }), "UnsafeImage");
  });

  it("are not asked for either: 60 TiB is INVALID_ARGUMENT", async () => {
    await using server = await startInstalled();
    const bends = [
      changed(({ volumes: [volume] }) => volume?.source?.$case === "disk" && (volume.source.value.size = "60Ti")),
      changed(({ volumes: [, volume] }) => volume?.source?.$case === "emptyDisk" && (volume.source.value.capacity = "60Ti")),
    ];
    for (const virtualMachine of bends) {
      await assert.rejects(server.admin.machines.createVirtualMachine({ ...ONCE, virtualMachine }), (error) => error instanceof ClientError && error.code === Status.INVALID_ARGUMENT);
    }
  });

  it("are refused at the top of a chain of 250, as fast as at the top of one of two", async () => {
    using pool = attackedPool();
    const nameOf = (level: number) => `l${String(level).padStart(3, "0")}`;
    pool.qemuImg("create", "-q", "-f", "qcow2", nameOf(0), "1M");
    pool.qemuImg("create", "-q", "-u", "-f", "qcow2", "-b", pool.image(nameOf(0)), "-F", "qcow2", nameOf(1), "1M");
    // Each differs from the first in nothing but the name of its base.
    const first = readFileSync(pool.image(nameOf(1)), "latin1");
    for (let level = 2; level <= CHAIN_LENGTH; level += 1) {
      writeFileSync(pool.image(nameOf(level)), first.replace(pool.image(nameOf(0)), pool.image(nameOf(level - 1))), "latin1");
    }
    assert.equal(pool.qemuImg("info", "-U", "--backing-chain", nameOf(20)).match(/^image: /gm)?.length, 21);
    const began = performance.now();
    assert.equal(await pool.end({ image: "own", baseImage: nameOf(CHAIN_LENGTH) }), "UnsafeImage");
    assert.equal(await pool.end({ image: "own", baseImage: nameOf(1) }), "UnsafeImage");
    assert.ok(performance.now() - began < PATIENCE_MS);
    assert.equal(await pool.end({ image: "own", baseImage: nameOf(0) }), "OK");
  });

  it("are refused when a header has its reader go round in circles or read for ever", async () => {
    using pool = attackedPool();
    // By field of the header: the size of the L1 table, of the refcount table, the number of snapshots, the header's length.
    for (const [offset, bytes] of [[36, [0x01, 0xff, 0xff, 0xff]], [56, [0x7f, 0xff, 0xff, 0xff]], [60, [0xff, 0xff, 0xff, 0xff]], [100, [0x7f, 0xff, 0xff, 0xff]], [20, [0, 0, 0, 63]]] as const) {
      pool.qemuImg("create", "-q", "-f", "qcow2", "x", "1M");
      const file = openSync(pool.image("x"), "r+");
      writeSync(file, Buffer.from(bytes), 0, bytes.length, offset);
      closeSync(file);
      const began = performance.now();
      const end = await pool.end({ image: "x" });
      assert.ok(end === "UnsafeImage", `field at ${offset}: ${end}`);
      assert.ok(performance.now() - began < PATIENCE_MS, `field at ${offset}`);
    }
    pool.checkCanary();
  });

  it("do not grow the reader: it is held to 1 GiB, 10 s, 64 files and no writing", async () => {
    const { program, args } = await new Sandbox(runCommand).around(["sh", "-c", "for limit in v t n f c; do ulimit -$limit; done"]);
    assert.deepEqual((await runCommand({ program, args, timeoutMs: 10_000 })).trim().split("\n"), ["1048576", "10", "64", "0", "0"]);
  });
});
