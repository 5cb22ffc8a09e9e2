/**
 * Pools: directories that the administrator names. Each keeps its id in itself, so that two nodes can tell whether they
 * share one; and the node remembers the id, so that a file system which is not mounted is not taken for a new pool.
 */
import { constants } from "node:fs";
import { mkdir, open, readdir, readFile, rm, stat, statfs } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Random } from "../../lib/random.ts";
import { NodePool } from "../../gen/drover/v1/node.ts";
import { explained, hasCode, writeNew } from "./durable-file.ts";
import { checkedName } from "./image-name.ts";
import { StorageError } from "./storage.ts";

export type PoolConfig = { name: string; path: string };

export const POOL_ID_FILE = ".drover-pool-id";
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export class Pool {
  readonly name: string;
  readonly #path: string;
  /** Where this node remembers the pool's id. */
  readonly #memory: string;
  readonly #random: Random;

  constructor({ name, path }: PoolConfig, { stateDirectory, random }: { stateDirectory: string; random: Random }) {
    this.name = name;
    this.#path = resolve(path);
    this.#memory = join(stateDirectory, "pools", checkedName(name));
    this.#random = random;
  }

  /** Not known to be there, nor to be this pool's, before `open` has said so. */
  get directory(): string {
    return this.#path;
  }

  async describe(): Promise<NodePool> {
    try {
      const { id, directory } = await this.open();
      const { bsize, blocks, bavail } = await statfs(directory);
      return NodePool.create({ name: this.name, id, capacityBytes: blocks * bsize, availableBytes: bavail * bsize });
    } catch (error) {
      return NodePool.create({ name: this.name, error: (error instanceof StorageError ? error : explained(error, this.#cannot)).message });
    }
  }

  /** The pool's id and directory. Gives the pool an id when it is new to everybody. */
  async open(): Promise<{ id: string; directory: string }> {
    await this.#checkDirectory();
    const known = await readId(this.#memory);
    const id = (await readId(this.#idFile)) ?? (known === undefined ? await this.#found() : undefined);
    if (id === undefined) throw this.#missing(`"${this.#path}" has lost its ${POOL_ID_FILE}: is the file system mounted?`);
    if (known !== undefined && known !== id) {
      throw this.#missing(`"${this.#path}" holds pool ${id} and this node knows it as ${known}: remove "${this.#memory}" if that is intended`);
    }
    if (known === undefined) await this.#remember(id);
    return { id, directory: this.#path };
  }

  /** Removes what was being made under a name beginning with `prefix`; in a pool that is away there is nothing to do. */
  async removeUnfinished(prefix: string): Promise<void> {
    try {
      const names = (await readdir(this.#path)).filter((name) => name.startsWith(prefix));
      for (const name of names) await rm(join(this.#path, name), { force: true });
    } catch (error) {
      if (!hasCode(error, "ENOENT", "ENOTDIR")) throw explained(error, this.#cannot);
    }
  }

  async #checkDirectory(): Promise<void> {
    try {
      if ((await stat(this.#path)).isDirectory()) return;
    } catch (error) {
      if (!hasCode(error, "ENOENT", "ENOTDIR")) throw explained(error, this.#cannot);
    }
    throw this.#missing(`"${this.#path}" is no directory of this node`);
  }

  /** Several nodes may come upon a new pool at once; the first one's id stands. */
  async #found(): Promise<string | undefined> {
    const content = `${this.#random.uuid()}\n`;
    await writeNew(this.#idFile, { content, temporary: `${this.#idFile}-${this.#random.token(8)}`, mode: 0o644 });
    return readId(this.#idFile);
  }

  async #remember(id: string): Promise<void> {
    await mkdir(dirname(this.#memory), { recursive: true, mode: 0o700 });
    await writeNew(this.#memory, { content: `${id}\n`, temporary: `${this.#memory}.new`, mode: 0o600 });
  }

  get #idFile(): string {
    return join(this.#path, POOL_ID_FILE);
  }

  get #cannot(): string {
    return `Cannot use pool "${this.name}"`;
  }

  #missing(text: string): StorageError {
    return new StorageError("PoolMissing", `${this.#cannot}: ${text}`);
  }
}

async function readId(file: string): Promise<string | undefined> {
  let text: string;
  try {
    text = (await readFile(file, { encoding: "utf8", flag: constants.O_RDONLY | constants.O_NOFOLLOW })).trim();
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw explained(error, `Cannot read "${file}"`);
  }
  if (!ID.test(text)) throw new StorageError("PoolMissing", `"${file}" does not hold a pool id`);
  return text;
}

/** A file in a pool, opened so that neither a link nor a device can stand in for it. Undefined when there is none. */
export async function openPoolFile(directory: string, name: string): Promise<{ path: string; file: Awaited<ReturnType<typeof open>> } | undefined> {
  const path = join(directory, checkedName(name));
  try {
    // Without O_NONBLOCK the open of a pipe would wait for ever.
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if ((await file.stat()).isFile()) return { path, file };
    await file.close();
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    if (!hasCode(error, "ELOOP", "ENXIO")) throw explained(error, `Cannot open "${path}"`);
  }
  throw new StorageError("UnsafeFile", `"${path}" cannot be used: it is not a regular file`);
}
