/**
 * Keeps consoles' logs bounded where QEMU writes them itself. The oldest part is given back to the file system and
 * leaves a hole, so every position in the log stays what it was: neither QEMU nor a reader notices, whatever either is
 * doing at that moment. Where virtlogd writes and rotates them they never become so large.
 */
import { stat } from "node:fs/promises";
import { hasCode } from "../storage/durable-file.ts";
import type { RunCommand } from "../storage/command.ts";

const MEBIBYTE = 1 << 20;
/** What of a log is always there to read. */
export const KEPT_BYTES = 8 * MEBIBYTE;
/** On disk, and what a guest writes until it is looked at again. */
const LOG_BYTES_MAX = 2 * KEPT_BYTES;
/** Space is given back in whole blocks of the file system. */
const BLOCK_BYTES = 4096;
/** The unit of `blocks`, whatever the file system's own is. */
const SECTOR_BYTES = 512;
const PUNCH_TIMEOUT_MS = 10_000;

/** Answers whether there was something to give back. A log that is not there is no fault. */
export async function boundLog(path: string, run: RunCommand): Promise<boolean> {
  const { size, blocks } = await sizeOf(path);
  if (blocks * SECTOR_BYTES <= LOG_BYTES_MAX) return false;
  const length = Math.floor((size - KEPT_BYTES) / BLOCK_BYTES) * BLOCK_BYTES;
  const args = ["--punch-hole", "--offset", "0", "--length", String(length), path];
  await run({ program: "fallocate", args, timeoutMs: PUNCH_TIMEOUT_MS });
  return true;
}

async function sizeOf(path: string): Promise<{ size: number; blocks: number }> {
  return stat(path).catch((error: unknown) => {
    if (hasCode(error, "ENOENT")) return { size: 0, blocks: 0 };
    throw error;
  });
}
