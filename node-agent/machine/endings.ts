/**
 * How runs ended, kept until their records are gone: a domain that is undefined tells nobody any more whether its
 * guest shut down or crashed, and an agent may be killed between undefining it and being heard.
 */
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { readKept, writeKept } from "../kept-file.ts";
import type { Ending } from "./observed.ts";

export interface Endings {
  read(vmiUid: string): Ending | undefined;
  /** Durable when it returns. */
  write(ending: Ending): void;
  remove(vmiUid: string): void;
  /** Runs whose endings are kept. */
  list(): string[];
}

const schema = v.object({ vmiUid: v.string(), reason: v.string(), message: v.string() });
const SUFFIX = ".json";

export function fileEndings(stateDirectory: string): Endings {
  const directory = join(stateDirectory, "endings");
  const path = (vmiUid: string) => join(directory, `${encodeURIComponent(vmiUid)}${SUFFIX}`);
  return {
    read(vmiUid) {
      const text = readKept(path(vmiUid));
      return text === undefined ? undefined : v.parse(schema, JSON.parse(text));
    },
    write: (ending) => writeKept(path(ending.vmiUid), JSON.stringify(ending)),
    remove: (vmiUid) => rmSync(path(vmiUid), { force: true }),
    list: () => names(directory).filter((name) => name.endsWith(SUFFIX)).map((name) => decodeURIComponent(name.slice(0, -SUFFIX.length))),
  };
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
