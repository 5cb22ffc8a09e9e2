/** The doors and passages of this host as they stand on disk, whichever agent opened them. */
import { createHash } from "node:crypto";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { readKept } from "../kept-file.ts";
import type { Grant, Standing } from "./grant.ts";
import { lives } from "./process-identity.ts";

export type Kind = Grant["kind"];

const SUFFIX = ".json";
const directoryOf = (stateDirectory: string, kind: Kind): string => join(stateDirectory, `${kind}s`);

export const digestOf = (grant: Grant): string => createHash("sha256").update(JSON.stringify(grant)).digest("hex");

/** Where a migration's door or passage keeps its state, and where its socket is. */
export function filesOf(stateDirectory: string, kind: Kind, migrationUid: string): { stateFile: string; socket: string } {
  const base = join(directoryOf(stateDirectory, kind), migrationUid);
  return { stateFile: `${base}${SUFFIX}`, socket: `${base}.sock` };
}

/** Undefined when the process is gone; what it left is then removed. */
export function standingOf({ stateFile, socket }: { stateFile: string; socket: string }): Standing | undefined {
  const text = readKept(stateFile);
  if (text === undefined) return undefined;
  const standing = JSON.parse(text) as Standing;
  if (lives(standing)) return standing;
  for (const path of [stateFile, socket]) rmSync(path, { force: true });
  return undefined;
}

/** Uids of the migrations that have, or had, one. */
export function migrationsWith(stateDirectory: string, kind: Kind): string[] {
  try {
    const names = readdirSync(directoryOf(stateDirectory, kind));
    return names.filter((name) => name.endsWith(SUFFIX)).map((name) => name.slice(0, -SUFFIX.length));
  } catch {
    return []; // None was ever opened.
  }
}
