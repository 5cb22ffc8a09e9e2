/**
 * Asks a local socket whether anybody listens, before libvirt is asked: an open that fails has no connection to read
 * its error from, and this says plainly what is wrong.
 */
import { connect } from "node:net";
import type { Clock } from "../../../lib/clock.ts";
import { HypervisorError } from "../hypervisor.ts";

const PROBE_TIMEOUT_MS = 2_000;

/** Resolves when one of the sockets accepts; no sockets means nothing to ask. */
export async function probe(clock: Clock, sockets: readonly string[]): Promise<void> {
  const reasons: string[] = [];
  for (const path of sockets) {
    const reason = await knock(clock, path);
    if (reason === undefined) return;
    reasons.push(`${path}: ${reason}`);
  }
  if (reasons.length > 0) throw new HypervisorError("connection-lost", `Cannot reach libvirt at ${reasons.join(", ")}`);
}

function knock(clock: Clock, path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const done = (reason?: string) => {
      timer.cancel();
      socket.destroy();
      resolve(reason);
    };
    const timer = clock.after(PROBE_TIMEOUT_MS, () => done("no answer"));
    socket.once("connect", () => done());
    socket.once("error", (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
  });
}
