/**
 * What this node's part in a migration has left, or will leave, in its pools: kept on disk from before the first file is made
 * or given away, until nothing of it is left. Whoever finds it after a crash knows which files to ask about.
 */
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { readKept, writeKept } from "../kept-file.ts";
import { hasCode } from "./durable-file.ts";

export type Transfer = {
  migrationUid: string;
  namespace: string;
  vm: string;
  vmUid: string;
  vmiUid: string;
  /** Bytes that are still to come, for the room that others may count on. */
  bytes: Record<string, number>;
  /** Images that are copied, with the name of the Volume that says where their bytes are. */
  images: { volume: string; pool: string; image: string }[];
  /** Pools in which a proof was written. */
  proofs: string[];
};

export interface Transfers {
  list(): Transfer[];
  /** Durable when it returns. */
  write(transfer: Transfer): void;
  remove(migrationUid: string): void;
}

const schema: v.GenericSchema<Transfer> = v.object({
  migrationUid: v.string(), namespace: v.string(), vm: v.string(), vmUid: v.string(), vmiUid: v.string(),
  bytes: v.record(v.string(), v.number()),
  images: v.array(v.object({ volume: v.string(), pool: v.string(), image: v.string() })),
  proofs: v.array(v.string()),
});
const SUFFIX = ".json";

export function fileTransfers(stateDirectory: string): Transfers {
  const directory = join(stateDirectory, "transfers");
  const path = (migrationUid: string) => join(directory, `${encodeURIComponent(migrationUid)}${SUFFIX}`);
  const read = (name: string): Transfer[] => {
    const text = readKept(join(directory, name));
    return text === undefined ? [] : [v.parse(schema, JSON.parse(text))];
  };
  return {
    list: () => namesIn(directory).filter((name) => name.endsWith(SUFFIX)).flatMap(read),
    write: (transfer) => writeKept(path(transfer.migrationUid), JSON.stringify(transfer)),
    remove: (migrationUid) => rmSync(path(migrationUid), { force: true }),
  };
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}
