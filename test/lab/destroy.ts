/**
 * Removes labs by their record alone: processes, links, mounts, files. Every step is harmless when there is nothing
 * left to remove, so that it can follow any failure and be repeated.
 */
import { existsSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { removeLink } from "./network.ts";
import { isAlive, leadersOf, pidsInNamespaceOf, signalPid, signalProcess } from "./proc-table.ts";
import { run, waitFor } from "./process.ts";
import { knownDirectories, readState, releaseSubnet, removeDanglingLinks, type LabState } from "./state.ts";

export class NotALab extends Error {
  override name = "NotALab";
  constructor(directory: string) {
    super(`Cannot remove "${directory}": it holds no lab's record`);
  }
}

/** Nothing to do when the directory is gone; a directory without a record is not ours to remove. */
export async function destroyLab(directory: string): Promise<void> {
  const state = readState(directory);
  if (!state) {
    if (existsSync(directory)) throw new NotALab(directory);
    return;
  }
  await endProcesses(state);
  for (const { link } of state.hosts) await removeLink(link);
  await removeLink(state.bridge);
  await unmountBelow(directory);
  await rm(directory, { recursive: true, force: true, maxRetries: 3 });
  if (state.subnet !== undefined) releaseSubnet(state.subnet, directory);
}

/** Removes every lab whose maker is dead. */
export async function sweepLabs(): Promise<void> {
  for (const directory of knownDirectories()) {
    const state = readState(directory);
    if (state && !isAlive(state.maker)) await destroyLab(directory);
  }
  removeDanglingLinks();
}

async function endProcesses({ hosts, processes }: LabState): Promise<void> {
  // The caller may be among them: the guard that cleans up after a dead maker is part of the lab.
  const all = [...hosts.flatMap((host) => host.processes), ...processes].filter(({ pid }) => pid !== process.pid);
  // A host's own shell is one of this machine's processes; only what is behind its first process is the host.
  const inside = hosts.flatMap((host) => host.processes.map(({ pid }) => pidsInNamespaceOf(pid)).filter((pids) => !pids.includes(process.pid)));
  const leaders = inside.flatMap(leadersOf);
  for (const identity of all) signalProcess(identity, "SIGKILL");
  for (const pid of leaders) signalPid(pid, "SIGKILL");
  await waitFor("the lab's processes to end", () => !all.some(isAlive) || undefined);
}

/** The hosts' mounts end with their namespaces; a mount made outside by a test would keep the directory. */
async function unmountBelow(directory: string): Promise<void> {
  const targets = readFileSync("/proc/self/mounts", "utf8").split("\n").map((line) => line.split(" ")[1] ?? "");
  for (const target of targets.filter((path) => path.startsWith(join(directory, "/"))).reverse()) {
    await run("umount", ["--lazy", target]);
  }
}
