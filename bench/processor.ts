/**
 * What Drover's programs burn, out of the kernel's own books: processor time and bytes written of each program and of
 * what it started, whether it still runs or has ended since.
 */
import { readFileSync } from "node:fs";
import { childrenOf } from "../test/lab/proc-table.ts";

/** Of USER_HZ, which is 100 on every Linux that Node runs on. */
const TICK_MS = 10;
const DRIVER = /node-agent\/libvirt\/driver\/main\.ts\0/;

/** Processor milliseconds and bytes, by the program's name. */
export type Spent = { cpuMs: Map<string, number>; diskBytes: number; writtenBytes: number };

/** `agents` are those of `pids` whose children are told apart; several may share a name, whose figures are then summed. */
export type Programs = readonly { name: string; pid: number; agent: boolean }[];

export function spentBy(programs: Programs): Spent {
  const cpuMs = new Map<string, number>();
  const add = (name: string, ms: number) => cpuMs.set(name, (cpuMs.get(name) ?? 0) + ms);
  let [diskBytes, writtenBytes] = [0, 0];
  for (const { name, pid, agent } of programs) {
    const { ownMs, endedMs } = timesOf(pid);
    add(name, agent ? ownMs : ownMs + endedMs);
    if (agent) add("doors, passages and tools", endedMs);
    for (const child of childrenOf(pid)) {
      const times = timesOf(child);
      add(isDriver(child) ? "libvirt driver" : "doors, passages and tools", times.ownMs + times.endedMs);
    }
    diskBytes += countOf(pid, "write_bytes");
    writtenBytes += countOf(pid, "wchar");
  }
  return { cpuMs, diskBytes, writtenBytes };
}

/** From one moment to a later one, for each of so many. */
export function between(before: Spent, after: Spent, count: number): Spent {
  return {
    cpuMs: new Map([...after.cpuMs].map(([name, ms]) => [name, (ms - (before.cpuMs.get(name) ?? 0)) / count])),
    diskBytes: (after.diskBytes - before.diskBytes) / count,
    writtenBytes: (after.writtenBytes - before.writtenBytes) / count,
  };
}

/** Of the process itself, and of those that it started and that have ended. */
function timesOf(pid: number): { ownMs: number; endedMs: number } {
  const text = readOrNothing(`/proc/${pid}/stat`);
  // The name stands in brackets and may hold anything. utime is the 14th field, and the second after it the third here.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ").map(Number);
  const [user = 0, system = 0, endedUser = 0, endedSystem = 0] = fields.slice(11, 15);
  return { ownMs: (user + system) * TICK_MS, endedMs: (endedUser + endedSystem) * TICK_MS };
}

const isDriver = (pid: number): boolean => DRIVER.test(readOrNothing(`/proc/${pid}/cmdline`));

function countOf(pid: number, field: string): number {
  return Number(new RegExp(`^${field}: (\\d+)$`, "m").exec(readOrNothing(`/proc/${pid}/io`))?.[1] ?? NaN);
}

export function readOrNothing(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // It ended since it was listed.
  }
}
