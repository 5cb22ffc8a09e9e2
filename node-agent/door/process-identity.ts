/** A process by its number and the moment it started, so that a number given to another one is never mistaken for it. */
import { readFileSync } from "node:fs";

const START_TIME_FIELD = 22;
const STATE_FIELD = 3;
const DEAD = ["Z", "X"];

/** Undefined when no such process lives. */
export function startTicksOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field, the program's name, is in brackets and may hold spaces.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return DEAD.includes(fields[0] ?? "") ? undefined : fields[START_TIME_FIELD - STATE_FIELD];
  } catch {
    return undefined;
  }
}

export const lives = ({ pid, startTicks }: { pid: number; startTicks: string }): boolean => startTicksOf(pid) === startTicks;

export function kill(process_: { pid: number; startTicks: string }, signal: "SIGTERM" | "SIGKILL"): void {
  if (!lives(process_)) return;
  try {
    process.kill(process_.pid, signal);
  } catch {
    // It ended by itself in this very moment.
  }
}
