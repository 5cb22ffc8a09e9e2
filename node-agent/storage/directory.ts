/**
 * A directory held open, and what is done in it: every name is looked up in the directory that was checked, whatever is
 * put in its place meanwhile, and no link is ever followed.
 */
import { constants } from "node:fs";
import type { Stats } from "node:fs";
import { link, open, readdir, realpath, rename, rm, statfs } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { explained, hasCode } from "./durable-file.ts";
import { StorageError } from "./storage.ts";

const OPEN_DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
// Without O_NONBLOCK the open of a pipe would wait for ever.
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const CREATE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const WRITABLE_BY_GROUP_OR_OTHERS = 0o022;
const WRITABLE_BY_OTHERS = 0o002;
const STICKY = 0o1000;
const ROOT = 0;

export class OpenDirectory {
  /** What libvirt and people know it by. */
  readonly path: string;
  readonly #handle: FileHandle;

  constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.#handle = handle;
  }

  /** A regular file, opened for reading; undefined when there is none of this name. Throws UnsafeFile for anything else. */
  async read(name: string): Promise<FileHandle | undefined> {
    try {
      const file = await open(this.#at(name), READ);
      if ((await file.stat()).isFile()) return file;
      await file.close();
    } catch (error) {
      if (hasCode(error, "ENOENT")) return undefined;
      if (!hasCode(error, "ELOOP", "ENXIO")) throw explained(error, `Cannot open "${join(this.path, name)}"`);
    }
    throw new StorageError("UnsafeFile", `"${join(this.path, name)}" cannot be used: it is not a regular file`);
  }

  /** Something has the name, whatever it is. */
  async has(name: string): Promise<boolean> {
    return (await this.names()).includes(name);
  }

  /** A new file; fails when something has the name. */
  create(name: string, mode: number): Promise<FileHandle> {
    return open(this.#at(name), CREATE, mode);
  }

  /** Gives a finished file its name unless that is taken; the temporary name is gone in either case. */
  async publish(temporary: string, name: string): Promise<boolean> {
    try {
      await link(this.#at(temporary), this.#at(name));
      await this.#handle.sync();
      return true;
    } catch (cause) {
      if (hasCode(cause, "EEXIST")) return false;
      throw explained(cause, `Cannot make "${join(this.path, name)}"`);
    } finally {
      await this.remove(temporary);
    }
  }

  async replace(temporary: string, name: string): Promise<void> {
    await rename(this.#at(temporary), this.#at(name));
  }

  /** A link itself, never what it leads to. */
  async remove(name: string): Promise<void> {
    await rm(this.#at(name), { force: true });
  }

  names(): Promise<string[]> {
    return readdir(this.#at("."));
  }

  space() {
    return statfs(this.#at("."));
  }

  #at(name: string): string {
    return `/proc/self/fd/${this.#handle.fd}/${name}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

/**
 * Links on the way are the administrator's and are followed first; then every part of the way is opened in the one before
 * it. Whoever could write there would decide which files libvirt opens, which takes paths: so nobody but root may.
 */
export async function openDirectory(path: string): Promise<OpenDirectory> {
  const names = (await realpath(path)).split("/").filter((name) => name !== "");
  let handle = await open("/", OPEN_DIRECTORY);
  let way = "/";
  try {
    for (const name of names) {
      checkWay(way, await handle.stat());
      const next = await open(`/proc/self/fd/${handle.fd}/${name}`, OPEN_DIRECTORY);
      await handle.close();
      handle = next;
      way = join(way, name);
    }
    checkOwner(path, await handle.stat());
    return new OpenDirectory(path, handle);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** In a sticky directory, such as /tmp, nobody renames what is another's. */
function checkWay(path: string, { mode }: Stats): void {
  if ((mode & WRITABLE_BY_OTHERS) === 0 || (mode & STICKY) !== 0) return;
  throw new StorageError("UnsafeFile", `"${path}" is on the way and may be written by everybody: see to it that only root can`);
}

function checkOwner(path: string, { uid, mode }: Stats): void {
  const isOurs = uid === ROOT || uid === process.getuid?.();
  if (isOurs && (mode & WRITABLE_BY_GROUP_OR_OTHERS) === 0) return;
  const how = isOurs ? `has mode ${(mode & 0o7777).toString(8)}` : `belongs to user ${uid}`;
  throw new StorageError("UnsafeFile", `"${path}" ${how}: it must belong to root and be writable by root alone, or others could put files in the place of guests' disks`);
}
