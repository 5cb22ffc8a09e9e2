/**
 * Looks at a machine from outside while a cell runs: who runs it, by the kernel and by libvirt, and what its guest leaves on
 * its disk. Neither asks Drover anything.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { delay, systemClock } from "../../../lib/clock.ts";
import { commandOf } from "../doors.ts";
import { GUEST_LOG_ENTRY, GUEST_LOG_OFFSET } from "../guest.ts";
import type { LabHost } from "../host.ts";
import { run } from "../process.ts";

const SAMPLE_MS = 200;
const SECTOR_BYTES = 512;
const ENTRIES_MAX = 28_672;
const VIRSH_TIMEOUT_MS = 2_000;

export type Entry = { entry: number; boot: string; count: number; uptimeSeconds: number };

/** The QEMUs that a host has of the domain. */
export function guestProcesses(host: LabHost, uuid: string): number[] {
  return host.pids().filter((pid) => {
    const command = commandOf(pid);
    return command.includes("qemu-system") && command.includes(uuid) && !command.startsWith("nsenter");
  });
}

/** The guest's log as it is on disk, up to the first sector that was never written. */
export class DiskLog {
  readonly #file: string;
  constructor(file: string) {
    this.#file = file;
  }

  /** The text of each sector that was written, from an entry on. */
  read(from = 0): string[] {
    const descriptor = openSync(this.#file, "r");
    try {
      const sectors: string[] = [];
      const block = Buffer.alloc(64 * SECTOR_BYTES);
      for (let entry = from; entry < ENTRIES_MAX;) {
        const bytes = readSync(descriptor, block, 0, block.length, GUEST_LOG_OFFSET + entry * SECTOR_BYTES);
        for (let at = 0; at + SECTOR_BYTES <= bytes; at += SECTOR_BYTES, entry += 1) {
          const sector = block.subarray(at, at + SECTOR_BYTES);
          if (sector.every((byte) => byte === 0)) return sectors;
          sectors.push(sector.toString("latin1").trimEnd());
        }
        if (bytes < block.length) break;
      }
      return sectors;
    } finally {
      closeSync(descriptor);
    }
  }
}

export function parseEntry(sector: string): Entry | undefined {
  const match = GUEST_LOG_ENTRY.exec(sector);
  return match ? { entry: Number(match[1]), boot: match[2]!, count: Number(match[3]), uptimeSeconds: Number(match[4]) } : undefined;
}

/** What is wrong with a log whose first sector is the entry `from`: a gap, a fork, or a boot that nobody allowed. */
export function faultsOfLog(sectors: readonly string[], { from, restart }: { from: number; restart: boolean }): string[] {
  const entries = sectors.map(parseEntry);
  const boots = new Set(entries.flatMap((entry) => entry?.boot ?? []));
  const faults = entries.flatMap((entry, index) => {
    if (!entry || entry.entry !== from + index) return [`sector ${from + index} reads ${JSON.stringify(sectors[index])}`];
    const before = entries[index - 1];
    if (before?.boot === entry.boot && (entry.count !== before.count + 1 || entry.uptimeSeconds <= before.uptimeSeconds)) return [`${sectors[index]} follows ${sectors[index - 1]}`];
    return before && before.boot !== entry.boot && entry.count !== 1 ? [`boot ${entry.boot} goes on in the middle, with count ${entry.count}`] : [];
  });
  return boots.size > (restart ? 2 : 1) ? [...faults, `the guest was booted again: ${[...boots].join(", ")}`] : faults;
}

export type Watched = { hosts: readonly LabHost[]; uuid: string; log: DiskLog };

/** Samples until it is asked what it saw. */
export class Watch {
  readonly from: number;
  readonly #watched: Watched;
  readonly #faults = new Set<string>();
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;
  #seen: string[] = [];

  constructor(watched: Watched) {
    this.#watched = watched;
    this.from = Math.max(0, watched.log.read().length - 1);
    this.#ended = this.#sample();
  }

  get written(): number {
    return this.from + this.#seen.length;
  }

  /** What was wrong until now. */
  get faults(): string[] {
    return [...this.#faults];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  /** Ends it, and says everything that was wrong at any moment, and with the log as a whole. */
  async end({ restart }: { restart: boolean }): Promise<string[]> {
    await this[Symbol.asyncDispose]();
    this.#readLog();
    return [...this.faults, ...faultsOfLog(this.#seen, { from: this.from, restart })];
  }

  async #sample(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#readLog();
      await this.#countRunners();
      await delay(systemClock, SAMPLE_MS);
    }
  }

  #readLog(): void {
    const now = this.#watched.log.read(this.from);
    this.#seen.forEach((before, index) => {
      if (now[index] !== before) this.#faults.add(`sector ${this.from + index} was ${JSON.stringify(before)} and became ${JSON.stringify(now[index])}`);
    });
    this.#seen = now;
  }

  /** Two at once: the first still ran after the second was seen to run. What libvirt does not answer is not known. */
  async #countRunners(): Promise<void> {
    const { hosts, uuid } = this.#watched;
    const having = hosts.filter((host) => host.isOn() && guestProcesses(host, uuid).length > 0);
    if (having.length < 2) return;
    for (const host of [...having, having[0]!]) if (!(await isRunning(host, uuid))) return;
    this.#faults.add(`the machine ran on ${having.map(({ name }) => name).join(" and ")} at once`);
  }
}

async function isRunning(host: LabHost, uuid: string): Promise<boolean> {
  const state = await run("virsh", ["-c", host.uri, "domstate", uuid], { timeoutMs: VIRSH_TIMEOUT_MS }).catch(() => "");
  return state.trim() === "running";
}
