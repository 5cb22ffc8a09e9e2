/** Files of objects, from the disk or from standard input. */
import { readFileSync } from "node:fs";
import type { Manifest } from "../lib/manifest/parse.ts";
import { UsageError } from "./failure.ts";

export async function readManifests(file: string): Promise<Manifest[]> {
  const { parseManifests } = await import("../lib/manifest/parse.ts");
  return parseManifests(contentOf(file), file === "-" ? "(standard input)" : file);
}

function contentOf(file: string): string {
  try {
    return readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (error) {
    throw new UsageError(`cannot read ${file}: ${(error as Error).message}`);
  }
}
