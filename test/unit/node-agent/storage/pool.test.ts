import assert from "node:assert/strict";
import { chmod, chown, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemRandom } from "../../../../lib/random.ts";
import { Pool, POOL_ID_FILE } from "../../../../node-agent/storage/pool.ts";

describe("Pool", () => {
  let directory: string;
  let path: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "drover-pool-"));
    path = join(directory, "pool");
    await mkdir(path);
  });
  afterEach(() => rm(directory, { recursive: true }));

  const node = (name: string) => new Pool({ name: "main", path }, { stateDirectory: join(directory, name), random: systemRandom });

  it("keeps one id, which every node that shares it reports", async () => {
    const first = await node("a").describe();
    assert.equal(first.error, "");
    assert.match(first.id, /^[0-9a-f-]{36}$/);
    assert.ok(first.capacityBytes >= first.availableBytes && first.availableBytes > 0);
    assert.equal((await node("b").describe()).id, first.id);
    assert.equal((await node("a").describe()).id, first.id);
    assert.equal(await readFile(join(path, POOL_ID_FILE), "utf8"), `${first.id}\n`);
  });

  it("gets one id when many nodes come upon it at once", async () => {
    const all = await Promise.all(Array.from({ length: 12 }, (_, index) => node(`n${index}`).describe()));
    assert.deepEqual(all.map(({ error }) => error), all.map(() => ""));
    assert.equal(new Set(all.map(({ id }) => id)).size, 1);
  });

  it("is not taken for a new one when its file system is away", async () => {
    const { id } = await node("a").describe();
    await rename(path, `${path}-unmounted`);
    assert.match((await node("a").describe()).error, /is no directory/);
    await mkdir(path);
    const { error, id: none } = await node("a").describe();
    assert.match(error, /is the file system mounted/);
    assert.equal(none, "");
    await assert.rejects(readFile(join(path, POOL_ID_FILE)), { code: "ENOENT" });
    await rm(path, { recursive: true });
    await rename(`${path}-unmounted`, path);
    assert.equal((await node("a").describe()).id, id);
  });

  it("is refused when another one stands in its place", async () => {
    await node("a").describe();
    await writeFile(join(path, POOL_ID_FILE), `${systemRandom.uuid()}\n`);
    assert.match((await node("a").describe()).error, /this node knows it as/);
  });

  it("is refused when its id cannot be read", async () => {
    await writeFile(join(path, POOL_ID_FILE), "");
    assert.match((await node("a").describe()).error, /does not hold a pool id/);
  });

  it("is refused when others than root could put files into it", async () => {
    await chmod(path, 0o775);
    assert.match((await node("a").describe()).error, /^Cannot use pool "main": ".*" has mode 775: it must belong to root and be writable by root alone/);
    await chmod(path, 0o755);
    if (process.getuid!() === 0) {
      await chown(path, 65_534, 65_534);
      assert.match((await node("a").describe()).error, /belongs to user 65534/);
      await chown(path, 0, 0);
    }
    await chmod(directory, 0o777);
    assert.match((await node("a").describe()).error, /is on the way and may be written by everybody/);
    await chmod(directory, 0o1777);
    assert.equal((await node("a").describe()).error, "");
  });
});
