/**
 * Pools: directories that the administrator names. Each keeps its id in itself, so that two nodes can tell whether they
 * share one; and the node remembers the id, so that a file system which is not mounted is not taken for a new pool.
 */
import { constants } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Random } from "../../lib/random.ts";
import { NodePool } from "../../gen/drover/v1/node.ts";
import { openDirectory } from "./directory.ts";
import type { OpenDirectory } from "./directory.ts";
import { explained, hasCode, writeNew } from "./durable-file.ts";
import { checkedName } from "./image-name.ts";
import { StorageError } from "./storage.ts";

export type PoolConfig = { name: string; path: string };

export const POOL_ID_FILE = ".drover-pool-id";
const PROOF_MODE = 0o600;
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

  async describe(): Promise<NodePool> {
    try {
      const { id, directory } = await this.open();
      await using opened = directory;
      const { bsize, blocks, bavail } = await opened.space();
      return NodePool.create({ name: this.name, id, capacityBytes: blocks * bsize, availableBytes: bavail * bsize, path: this.#path });
    } catch (error) {
      return NodePool.create({ name: this.name, error: explained(error, this.#cannot).message });
    }
  }

  /** The pool's id and directory, which is the caller's to close. Gives the pool an id when it is new to everybody. */
  async open(): Promise<{ id: string; directory: OpenDirectory }> {
    const directory = await this.openUnknown();
    try {
      return { id: await this.#identify(directory), directory };
    } catch (error) {
      await directory[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The directory as it is, whether or not it holds this pool. */
  async openUnknown(): Promise<OpenDirectory> {
    try {
      return await openDirectory(this.#path);
    } catch (error) {
      if (hasCode(error, "ENOENT", "ENOTDIR")) throw this.#missing(`"${this.#path}" is no directory of this node`);
      throw error instanceof StorageError ? new StorageError(error.fault, `${this.#cannot}: ${error.message}`) : explained(error, this.#cannot);
    }
  }

  /** Writes a word for whoever else has this pool, and answers the one that stands: somebody may be reading it already. */
  async prove(name: string, word: string): Promise<string> {
    const { directory } = await this.open();
    await using opened = directory;
    await using written = await opened.read(name);
    const earlier = await written?.readFile("utf8");
    if (earlier) return earlier;
    await opened.remove(name);
    await using file = await opened.create(name, PROOF_MODE);
    await file.writeFile(word);
    await file.sync();
    return word;
  }

  /** The word that is there now; undefined without one. */
  async proof(name: string): Promise<string | undefined> {
    const { directory } = await this.open();
    await using opened = directory;
    await using file = await opened.read(name);
    return file?.readFile("utf8");
  }

  /** Removes what was being made under a name beginning with `prefix`; in a pool that cannot be used there is nothing to do. */
  async removeUnfinished(prefix: string): Promise<void> {
    try {
      await using directory = await this.openUnknown();
      const names = (await directory.names()).filter((name) => name.startsWith(prefix));
      for (const name of names) await directory.remove(name);
    } catch (error) {
      if (!(error instanceof StorageError)) throw explained(error, this.#cannot);
    }
  }

  async #identify(directory: OpenDirectory): Promise<string> {
    const known = await readRemembered(this.#memory);
    const id = (await readId(directory)) ?? (known === undefined ? await this.#found(directory) : undefined);
    if (id === undefined) throw this.#missing(`"${this.#path}" has lost its ${POOL_ID_FILE}: is the file system mounted?`);
    if (known !== undefined && known !== id) {
      throw this.#missing(`"${this.#path}" holds pool ${id} and this node knows it as ${known}: remove "${this.#memory}" if that is intended`);
    }
    if (known === undefined) await this.#remember(id);
    return id;
  }

  /** Several nodes may come upon a new pool at once; the first one's id stands. */
  async #found(directory: OpenDirectory): Promise<string | undefined> {
    const temporary = `${POOL_ID_FILE}-${this.#random.token(8)}`;
    {
      await using file = await directory.create(temporary, 0o644);
      await file.writeFile(`${this.#random.uuid()}\n`);
      await file.sync();
    }
    await directory.publish(temporary, POOL_ID_FILE);
    return readId(directory);
  }

  async #remember(id: string): Promise<void> {
    await mkdir(dirname(this.#memory), { recursive: true, mode: 0o700 });
    await writeNew(this.#memory, { content: `${id}\n`, temporary: `${this.#memory}.new`, mode: 0o600 });
  }

  get #cannot(): string {
    return `Cannot use pool "${this.name}"`;
  }

  #missing(text: string): StorageError {
    return new StorageError("PoolMissing", `${this.#cannot}: ${text}`);
  }
}

async function readId(directory: OpenDirectory): Promise<string | undefined> {
  await using file = await directory.read(POOL_ID_FILE);
  return file && checkedId(await file.readFile("utf8"), join(directory.path, POOL_ID_FILE));
}

async function readRemembered(path: string): Promise<string | undefined> {
  try {
    return checkedId(await readFile(path, { encoding: "utf8", flag: constants.O_RDONLY | constants.O_NOFOLLOW }), path);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw explained(error, `Cannot read "${path}"`);
  }
}

function checkedId(text: string, path: string): string {
  const id = text.trim();
  if (!ID.test(id)) throw new StorageError("PoolMissing", `"${path}" does not hold a pool id`);
  return id;
}
