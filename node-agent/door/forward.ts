/** Bytes from one socket to another. */
import type { Socket } from "node:net";

/** As fast as the reader reads. */
export function forward(bytes: Buffer, { from, to }: { from: Socket; to: Socket }): void {
  if (to.write(bytes) || from.isPaused()) return;
  from.pause();
  to.once("drain", () => from.resume());
}
