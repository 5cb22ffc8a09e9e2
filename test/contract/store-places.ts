/** Stores to test with: each in a directory of its own that goes with it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newIdentity } from "../../api-server/store/revision.ts";
import { type SqliteOptions, SqliteStore } from "../../api-server/store/sqlite.ts";
import { systemClock } from "../../lib/clock.ts";
import { systemRandom } from "../../lib/random.ts";

export type Place = { directory: string; path: string } & Disposable;

export function makePlace(): Place {
  const directory = mkdtempSync(join(tmpdir(), "drover-store-"));
  return {
    directory,
    path: join(directory, "drover.db"),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}

export function openSqlite(path: string, options: Partial<SqliteOptions> = {}): Promise<SqliteStore> {
  const onFatal = (error: Error) => {
    throw error;
  };
  const identity = newIdentity(systemClock, systemRandom);
  return SqliteStore.open({ path, identity, create: true, clock: systemClock, onFatal, ...options });
}
