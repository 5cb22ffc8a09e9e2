/** The digest of a base image, on real files. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BaseDigests } from "../../../../node-agent/storage/base-digests.ts";
import { openDirectory } from "../../../../node-agent/storage/directory.ts";

const CONTENT = Buffer.alloc(3 << 20, 7);

describe("the digest of a base", () => {
  let path: string;
  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), "drover-digest-"));
    await writeFile(join(path, "base.raw"), CONTENT);
  });
  afterEach(() => rm(path, { recursive: true }));

  const openedHere = async () => {
    const targets = await Promise.all((await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")));
    return targets.filter((target) => target.startsWith(join(path, "base.raw")));
  };

  it("is read once for all who ask at a time, and leaves no file open", async () => {
    const digests = new BaseDigests(CONTENT.length);
    await using directory = await openDirectory(path);
    const answers = await Promise.all(Array.from({ length: 4 }, () => digests.of(directory, "base.raw")));
    const digest = createHash("sha256").update(CONTENT).digest("hex");
    assert.deepEqual(new Set(answers), new Set([digest]));
    assert.equal(await digests.of(directory, "base.raw"), digest);
    assert.deepEqual(await openedHere(), []);
  });
});
