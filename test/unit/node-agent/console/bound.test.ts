/** On a real file, while another process goes on writing it. */
import assert from "node:assert/strict";
import { appendFile, mkdtemp, open, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { boundLog, KEPT_BYTES } from "../../../../node-agent/console/bound.ts";
import { fileConsoleLog } from "../../../../node-agent/console/output.ts";
import { runCommand } from "../../../../node-agent/storage/command.ts";

const allocated = async (path: string) => (await stat(path)).blocks * 512;

describe("a console's log", () => {
  let directory: string;
  beforeEach(async () => (directory = await mkdtemp(join(tmpdir(), "drover-console-"))));
  afterEach(() => rm(directory, { recursive: true }));

  it("is bounded on disk, and keeps its end, its positions and its writer", async () => {
    const path = join(directory, "console.log");
    await using writer = await open(path, "w");
    await writer.write("first".padEnd(2 * KEPT_BYTES, "."));
    assert.equal(await boundLog(path, runCommand), false);
    await writer.write("and the end");
    const { size } = await stat(path);
    assert.equal(await boundLog(path, runCommand), true);
    assert.ok((await allocated(path)) <= KEPT_BYTES + 8192, String(await allocated(path)));
    assert.equal((await stat(path)).size, size);
    await writer.write(", but one");
    await using log = (await fileConsoleLog(path))!;
    assert.equal(Buffer.from(await log.read(size - 11, 100)).toString(), "and the end, but one");
    assert.equal((await log.read(size - KEPT_BYTES, 1))[0], ".".charCodeAt(0));
    assert.equal(await boundLog(path, runCommand), false);
  });

  it("is shortened again and again while its guest goes on", async () => {
    const path = join(directory, "console.log");
    for (let round = 0; round < 4; round += 1) {
      await appendFile(path, Buffer.alloc(2 * KEPT_BYTES, "x"));
      await boundLog(path, runCommand);
    }
    assert.ok((await allocated(path)) <= 2 * KEPT_BYTES);
    assert.equal((await stat(path)).size, 8 * KEPT_BYTES);
  });

  it("need not be there", async () => {
    assert.equal(await boundLog(join(directory, "none"), runCommand), false);
  });
});
