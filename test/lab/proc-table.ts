/**
 * The kernel's process table as the lab needs it. A process is named by its id and its start time together, so that
 * a number the kernel has given to somebody else is never signalled.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export type ProcessIdentity = { pid: number; startTicks: string };

type Stat = { state: string; parentPid: number; processorTicks: number; startTicks: string };

/** Undefined when there is no such process, or when only its exit status is left of it. */
export function identityOf(pid: number): ProcessIdentity | undefined {
  const stat = statOf(pid);
  return stat && !isDead(stat) ? { pid, startTicks: stat.startTicks } : undefined;
}

export function isAlive({ pid, startTicks }: ProcessIdentity): boolean {
  return identityOf(pid)?.startTicks === startTicks;
}

/** Says whether the signal was sent; a process that is gone is not an error. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  return isAlive(identity) && signalPid(identity.pid, signal);
}

export function signalPid(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

export function isStopped(pid: number): boolean {
  const state = statOf(pid)?.state;
  return state === undefined || state === "T" || state === "Z" || state === "X";
}

export function childrenOf(pid: number): number[] {
  return read(`/proc/${pid}/task/${pid}/children`)?.trim().split(" ").filter(Boolean).map(Number) ?? [];
}

export function parentOf(pid: number): number | undefined {
  return statOf(pid)?.parentPid;
}

/** What it has used of the processors, in clock ticks. */
export function processorTicksOf(pid: number): number | undefined {
  return statOf(pid)?.processorTicks;
}

export function nameOf(pid: number): string | undefined {
  return read(`/proc/${pid}/comm`)?.trim();
}

/** Every living process in the pid namespace of `pid`, itself included. */
export function pidsInNamespaceOf(pid: number): number[] {
  const namespace = pidNamespaceOf(pid);
  return namespace === undefined ? [] : allPids().filter((other) => pidNamespaceOf(other) === namespace);
}

/**
 * The nsenter processes outside that lead to these: each stops itself together with the program it leads to, and a
 * stopped one reaps nothing, so that the namespace behind it could never end.
 */
export function leadersOf(pids: readonly number[]): number[] {
  return pids.map(parentOf).filter((pid) => pid !== undefined && !pids.includes(pid) && nameOf(pid) === "nsenter") as number[];
}

/** The outside number of the process that is called `insidePid` in the pid namespace of `pid`. */
export function outsidePid(pid: number, insidePid: number): number | undefined {
  return pidsInNamespaceOf(pid).find((other) => {
    const numbers = /^NSpid:\s+(.*)$/m.exec(read(`/proc/${other}/status`) ?? "")?.[1]?.split(/\s+/);
    return Number(numbers?.at(-1)) === insidePid && identityOf(other) !== undefined;
  });
}

function pidNamespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined; // It ended since the table was read.
  }
}

function allPids(): number[] {
  return readdirSync("/proc").map(Number).filter(Number.isInteger);
}

/** The program's name stands in brackets and may hold anything, so the fields are counted from the last bracket. */
function statOf(pid: number): Stat | undefined {
  const text = read(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0]!, parentPid: Number(fields[1]), processorTicks: Number(fields[11]) + Number(fields[12]), startTicks: fields[19]! };
}

const isDead = ({ state }: Stat) => state === "Z" || state === "X";

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // Entries of /proc vanish with their process.
  }
}
