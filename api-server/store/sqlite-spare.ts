/**
 * Room that is kept back for what makes room: deletions, compaction, checkpoints. It is a file beside the store, given up
 * when the disk is full and taken again before anything else is written; a store with a limit on its pages keeps some back.
 */
import { closeSync, openSync, rmSync, statfsSync, statSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import type { SqliteLimits } from "./sqlite-protocol.ts";

/** As much as a checkpoint may have to copy into the file. */
const SPARE_BYTES = 16 * 1024 * 1024;
const CHUNK_BYTES = 1024 * 1024;
const NO_ROOM: readonly string[] = ["ENOSPC", "EDQUOT"];

export class Spare {
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #limits: SqliteLimits;
  #held = false;

  constructor(database: DatabaseSync, path: string, limits: SqliteLimits) {
    this.#database = database;
    this.#path = `${path}-spare`;
    this.#limits = limits;
  }

  get held(): boolean {
    return this.#held;
  }

  /** False while there is no room for it. */
  hold(): boolean {
    this.#held ||= this.#holdPages() && this.#holdFile();
    return this.#held;
  }

  release(): void {
    this.#held = false;
    rmSync(this.#path, { force: true });
    const { pagesMax } = this.#limits;
    if (pagesMax !== undefined) this.#database.exec(`PRAGMA max_page_count = ${pagesMax}`);
  }

  #holdPages(): boolean {
    const { pagesMax, sparePages = 0 } = this.#limits;
    if (pagesMax === undefined) return true;
    const count = (name: string) => Number(Object.values(this.#database.prepare(`PRAGMA ${name}`).get() ?? {})[0]);
    // With some to use besides, or the next write would give it up again.
    if (count("page_count") - count("freelist_count") > pagesMax - 1.25 * sparePages) return false;
    this.#database.exec(`PRAGMA max_page_count = ${pagesMax - sparePages}`);
    return true;
  }

  #holdFile(): boolean {
    if (statSync(this.#path, { throwIfNoEntry: false })?.size === SPARE_BYTES) return true;
    const { bavail, bsize } = statfsSync(dirname(this.#path));
    return bavail * bsize >= 2 * SPARE_BYTES && this.#fill();
  }

  /** Written in full, as a file with a hole keeps nothing back. */
  #fill(): boolean {
    const file = openSync(this.#path, "w", 0o600);
    try {
      const chunk = Buffer.alloc(CHUNK_BYTES, 1);
      for (let written = 0; written < SPARE_BYTES; ) written += writeSync(file, chunk, 0, Math.min(CHUNK_BYTES, SPARE_BYTES - written));
      return true;
    } catch (error) {
      rmSync(this.#path, { force: true });
      // What else is wrong with the disk shows in the writes themselves.
      return !(error instanceof Error && "code" in error && NO_ROOM.includes(String(error.code)));
    } finally {
      closeSync(file);
    }
  }
}
