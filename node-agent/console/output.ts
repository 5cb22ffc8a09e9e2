/**
 * A console's recorded output as a stream of frames: the last bytes of the log, and then what comes. The file is held
 * open, so what a guest said last is still read when its files are removed.
 */
import { open } from "node:fs/promises";
import type { Clock } from "../../lib/clock.ts";
import { delay } from "../../lib/clock.ts";
import { KEPT_BYTES } from "./bound.ts";

/** The log as the stream sees it. */
export interface ConsoleLog extends AsyncDisposable {
  sizeBytes(): Promise<number>;
  read(position: number, length: number): Promise<Uint8Array>;
}

export type Standing = "owner" | "moved" | "unknown";
export type OutputEnd = "END_OF_OUTPUT" | "INSTANCE_MOVED";

export const FRAME_BYTES = 32 * 1024;
const POLL_MS = 100;
const NOTHING = new Uint8Array();

export type OutputOptions = { follow: boolean; tailBytes: number; standing: () => Standing; clock: Clock; signal: AbortSignal };

/** Returns why it ended. The consumer's pace is the reader's: the next frame is read when it is asked for. */
export async function* output(log: ConsoleLog, { follow, tailBytes, standing, clock, signal }: OutputOptions): AsyncGenerator<Uint8Array, OutputEnd> {
  const beganBytes = await log.sizeBytes();
  let position = Math.max(0, beganBytes - tailBytes);
  // What a guest says meanwhile is for those who follow: others get what there was, and come to an end.
  const endBytes = follow ? Infinity : beganBytes;
  while (!signal.aborted) {
    // Before the read: what was written until the machine went is then still sent.
    const where = standing();
    // A reader that is further behind finds a hole.
    position = Math.max(position, (await log.sizeBytes()) - KEPT_BYTES);
    const wantedBytes = Math.min(FRAME_BYTES, endBytes - position);
    const frame = wantedBytes > 0 ? await log.read(position, wantedBytes) : NOTHING;
    if (frame.length > 0) {
      position += frame.length;
      yield frame;
    } else if (where === "moved") return "INSTANCE_MOVED";
    else if (!follow || where === "unknown") return "END_OF_OUTPUT";
    else {
      await delay(clock, POLL_MS, signal).catch(() => undefined);
      // A log that was cut short begins anew.
      if ((await log.sizeBytes()) < position) position = 0;
    }
  }
  return "END_OF_OUTPUT";
}

/** Undefined when there is no such log. */
export async function fileConsoleLog(path: string): Promise<ConsoleLog | undefined> {
  const file = await open(path, "r").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  });
  if (!file) return undefined;
  return {
    sizeBytes: async () => (await file.stat()).size,
    async read(position, length) {
      const { bytesRead, buffer } = await file.read(new Uint8Array(length), 0, length, position);
      return buffer.subarray(0, bytesRead);
    },
    [Symbol.asyncDispose]: () => file.close(),
  };
}
