import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDirectory } from "../../../../node-agent/storage/directory.ts";
import { StorageError } from "../../../../node-agent/storage/storage.ts";

describe("OpenDirectory", () => {
  let place: string;
  let path: string;
  beforeEach(async () => {
    place = await mkdtemp(join(tmpdir(), "drover-directory-"));
    path = join(place, "pool");
    await mkdir(path);
  });
  afterEach(() => rm(place, { recursive: true }));

  const unsafe = (error: unknown) => error instanceof StorageError && error.fault === "UnsafeFile";

  it("reads regular files only", async () => {
    await writeFile(join(path, "a"), "content");
    await symlink("a", join(path, "link"));
    await mkdir(join(path, "directory"));
    execFileSync("mkfifo", [join(path, "pipe")]);
    await using directory = await openDirectory(path);
    await using file = await directory.read("a");
    assert.equal(await file!.readFile("utf8"), "content");
    assert.equal(await directory.read("none"), undefined);
    for (const name of ["link", "directory", "pipe"]) await assert.rejects(directory.read(name), unsafe, name);
  });

  it("stays the directory that was opened, whatever takes its place", async () => {
    await writeFile(join(path, "a"), "mine");
    await mkdir(join(place, "other"));
    await writeFile(join(place, "other", "a"), "theirs");
    await using directory = await openDirectory(path);
    await rename(path, `${path}-old`);
    await symlink("other", path);
    await using file = await directory.read("a");
    assert.equal(await file!.readFile("utf8"), "mine");
    await using made = await directory.create("b", 0o600);
    await made.writeFile("made");
    assert.equal(await readFile(join(`${path}-old`, "b"), "utf8"), "made");
  });

  it("makes nothing through a link, and removes the link and not what it leads to", async () => {
    await writeFile(join(place, "canary"), "untouched");
    await symlink(join(place, "canary"), join(path, "link"));
    await symlink(join(place, "absent"), join(path, "dangling"));
    await using directory = await openDirectory(path);
    for (const name of ["link", "dangling"]) await assert.rejects(directory.create(name, 0o600), { code: "EEXIST" });
    await using file = await directory.create("new", 0o600);
    await file.writeFile("new");
    assert.equal(await directory.publish("new", "link"), false);
    await directory.remove("link");
    assert.equal(await readFile(join(place, "canary"), "utf8"), "untouched");
    assert.deepEqual(await directory.names(), ["dangling"]);
  });

  it("takes the administrator's own links on the way to a pool", async () => {
    await symlink(path, join(place, "way"));
    await using directory = await openDirectory(join(place, "way"));
    assert.equal(directory.path, join(place, "way"));
    assert.deepEqual(await directory.names(), []);
  });
});
