/** Files that are there whole or not at all, whoever is killed when. */
import { constants } from "node:fs";
import { link, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { StorageError } from "./storage.ts";

/** Error codes of the file system, where the caller has something else to do for one. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}

/** Writes beside the place and then links there, which fails rather than replace. False when something stood there. */
export async function writeNew(path: string, { content, temporary, mode }: { content: string; temporary: string; mode: number }): Promise<boolean> {
  await rm(temporary, { force: true });
  await using file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode);
  await file.writeFile(content);
  return publish(temporary, path);
}

/** Gives a finished file its name unless that is taken; the temporary name is gone in either case. */
async function publish(temporary: string, path: string): Promise<boolean> {
  try {
    await sync(temporary);
    await link(temporary, path);
    await sync(dirname(path));
    return true;
  } catch (cause) {
    if (hasCode(cause, "EEXIST")) return false;
    throw explained(cause, `Cannot make "${path}"`);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function sync(path: string): Promise<void> {
  await using file = await open(path, constants.O_RDONLY);
  await file.sync();
}

/** A failure of the file system as the fault that it is to the caller. */
export function explained(cause: unknown, what: string): StorageError {
  if (cause instanceof StorageError) return cause;
  const text = cause instanceof Error ? cause.message : String(cause);
  return new StorageError(hasCode(cause, "ENOSPC", "EDQUOT") ? "NoSpace" : "ToolFailed", `${what}: ${text}`, { cause });
}
