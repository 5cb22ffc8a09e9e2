/** Who this node and this agent process are, and the lock that keeps a second agent off the same state directory. */
import { createHash } from "node:crypto";
import { readFileSync, realpathSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { BootIdentity } from "../gen/drover/v1/meta.ts";
import type { Random } from "../lib/random.ts";
import { readKept, writeKept } from "./kept-file.ts";

/** Made once in the life of the host's disk. */
export function nodeUid(stateDirectory: string, random: Random): string {
  return keptOnce(join(stateDirectory, "node-uid"), () => random.uuid());
}

function keptOnce(path: string, make: () => string): string {
  const kept = readKept(path)?.trim();
  if (kept) return kept;
  const made = make();
  writeKept(path, `${made}\n`);
  return made;
}

const START_TIME_FIELD = 22;

/** Two hosts in namespaces of one kernel share its boot id; the start of their process 1 tells them apart. */
export function bootIdentity(): BootIdentity {
  const stat = readFileSync("/proc/1/stat", "utf8");
  // The second field, the program's name, is in brackets and may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return BootIdentity.create({
    kernelBootId: readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim(),
    pid1StartTime: fields[START_TIME_FIELD - 3] ?? "",
  });
}

/** The store that this node's machines are recorded in; the first one seen is it. */
export function rememberedStore(stateDirectory: string): { matches(storeId: string): boolean; known(): string | undefined } {
  const path = join(stateDirectory, "store-id");
  return {
    known: () => readKept(path)?.trim(),
    matches: (storeId) => keptOnce(path, () => storeId) === storeId,
  };
}

export class AlreadyRunning extends Error {
  override name = "AlreadyRunning";
}

/**
 * Held for the life of the process. A name in the kernel's abstract socket namespace, since the kernel itself frees
 * it at any death of the holder: there is no file to clean up and no pid to misread. The name is made of the
 * directory's real path, and belongs to the host's network namespace, as its agent does.
 */
export async function lockStateDirectory(stateDirectory: string): Promise<Disposable> {
  const name = createHash("sha256").update(realpathSync(stateDirectory)).digest("hex").slice(0, 32);
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => reject(new AlreadyRunning(`Cannot use "${stateDirectory}": another agent holds it`, { cause })));
    server.listen(`\0drover-node-agent-${name}`, resolve);
  });
  server.unref();
  return { [Symbol.dispose]: () => void server.close() };
}
