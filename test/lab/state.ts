/**
 * What a lab has made, on disk from its first moment, so that it can be removed by anybody and after any end of its
 * maker. A registry of links, one for each subnet in use, lets labs find each other and keeps their addresses apart.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ProcessIdentity } from "./proc-table.ts";

const STATE_FILE = "lab.json";

export type HostState = { name: string; link: string; processes: ProcessIdentity[] };

export type LabState = {
  runId: string;
  directory: string;
  maker: ProcessIdentity;
  bridge: string;
  subnet?: string;
  hosts: HostState[];
  /** Processes outside the hosts. */
  processes: ProcessIdentity[];
};

export const registryDirectory = () => join(tmpdir(), "drover-labs");
export const defaultDirectory = (runId: string) => join(tmpdir(), `drover-lab-${runId}`);

/** Replaced by a rename, so that a reader never sees half of it. */
export function writeState(state: LabState): void {
  const path = join(state.directory, STATE_FILE);
  writeFileSync(`${path}.new`, JSON.stringify(state, undefined, 2));
  renameSync(`${path}.new`, path);
}

/** Undefined when the directory is not a lab's. */
export function readState(directory: string): LabState | undefined {
  const path = join(directory, STATE_FILE);
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as LabState) : undefined;
}

/** Making a link is atomic, so of two labs that want one subnet exactly one gets it. */
export function reserveSubnet(subnet: string, directory: string): boolean {
  mkdirSync(registryDirectory(), { recursive: true });
  try {
    symlinkSync(directory, join(registryDirectory(), subnet));
    return true;
  } catch (error) {
    // Taken by another lab, or the registry went away with the last one: the caller tries again.
    if (["EEXIST", "ENOENT"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}

export function releaseSubnet(subnet: string, directory: string): void {
  const path = join(registryDirectory(), subnet);
  if (registeredDirectory(path) === directory) rmSync(path, { force: true });
  removeEmptyRegistry();
}

/** Every directory that is or was a lab's. */
export function knownDirectories(): Set<string> {
  const registered = list(registryDirectory()).map((entry) => registeredDirectory(join(registryDirectory(), entry)));
  const unregistered = list(tmpdir()).filter((entry) => entry.startsWith("drover-lab-")).map((entry) => join(tmpdir(), entry));
  return new Set([...registered.filter((path) => path !== undefined), ...unregistered]);
}

/** Links to labs whose directory is gone; a lab makes its directory before its link. */
export function removeDanglingLinks(): void {
  for (const entry of list(registryDirectory())) {
    const path = join(registryDirectory(), entry);
    const directory = registeredDirectory(path);
    if (directory !== undefined && !existsSync(directory)) rmSync(path, { force: true });
  }
  removeEmptyRegistry();
}

function removeEmptyRegistry(): void {
  try {
    rmdirSync(registryDirectory());
  } catch (error) {
    if (!["ENOTEMPTY", "ENOENT"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

function registeredDirectory(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // Released in the meantime.
  }
}

function list(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : [];
}
