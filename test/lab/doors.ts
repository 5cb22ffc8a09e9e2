/** The doors and passages of a fleet's hosts, by what they keep on disk and by their processes. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Standing } from "../../node-agent/door/grant.ts";
import type { Fleet } from "./fleet.ts";
import type { LabHost } from "./host.ts";
import { outsidePid } from "./proc-table.ts";

export type DoorKind = "door" | "passage";

const directoryOf = (host: LabHost, kind: DoorKind) => join(host.localDirectory, "drover", `${kind}s`);
const filesIn = (directory: string) => (existsSync(directory) ? readdirSync(directory) : []);

/** What is left of doors and passages on the hosts' disks and among their processes. */
export function doorRemains(fleet: Fleet): string[] {
  return fleet.lab.hosts().flatMap((host) => {
    const files = (["door", "passage"] as const).flatMap((kind) => filesIn(directoryOf(host, kind)));
    const running = host.pids().filter((pid) => commandOf(pid).includes("door/main.ts"));
    // One without a grant may wait for the next migration.
    return [...files, ...running.slice(1).map((pid) => `process ${pid} on ${host.name}`)];
  });
}

/** The processes, by their outside numbers, of those that stand open. */
export function doorsOpenOn(host: LabHost, kind: DoorKind): number[] {
  const directory = directoryOf(host, kind);
  const states = filesIn(directory).filter((name) => name.endsWith(".json")).map((name) => JSON.parse(readFileSync(join(directory, name), "utf8")) as Standing);
  return states.map(({ pid }) => outsidePid(host.pid1, pid)).filter((pid) => pid !== undefined);
}

export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return ""; // It ended since the table was read.
  }
}
