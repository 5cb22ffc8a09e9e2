/** Where a demo that was kept is described, for its users and for `npm run demo:down`. */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY } from "../test/lab/guest.ts";
import { identityOf } from "../test/lab/proc-table.ts";
import type { ProcessIdentity } from "../test/lab/proc-table.ts";
import type { Fleet } from "../test/lab/fleet.ts";

export const DEMO_DIRECTORY = join(REPOSITORY, ".drover-demo");
/** Written first, so that a demo that is killed can be removed. */
export const DEMO_STATE = join(DEMO_DIRECTORY, "state.json");
export const DEMO_READY = join(DEMO_DIRECTORY, "ready");
export const DEMO_LAB = join(DEMO_DIRECTORY, "lab.json");
export const DEMO_ENV = join(DEMO_DIRECTORY, "env");

export type DemoState = { holder: ProcessIdentity; directory: string };

export function recordDemo(directory: string): void {
  mkdirSync(DEMO_DIRECTORY, { recursive: true });
  const state: DemoState = { holder: identityOf(process.pid)!, directory };
  writeWhole(DEMO_STATE, JSON.stringify(state, undefined, 2));
}

/** What a user, or a program of his, needs to work with the running demo. */
export function describeDemo(fleet: Fleet): void {
  const hosts = fleet.lab.hosts().map((host) => [host.name, {
    libvirtUri: host.uri,
    socket: host.socketPath,
    address: host.address,
    pid: host.pid1,
    libvirtdPid: host.libvirtd.pid(),
    log: join(host.directory, "var/log/libvirtd.log"),
  }]);
  const programs = [fleet.apiServer, fleet.controller, ...fleet.agents()].map(({ name, pid, logFile }) => [name, { pid, log: logFile }]);
  writeWhole(DEMO_LAB, JSON.stringify({
    server: fleet.server,
    unixServer: fleet.unixServer,
    directory: fleet.lab.directory,
    pool: fleet.lab.poolDirectory,
    hosts: Object.fromEntries(hosts) as unknown,
    programs: Object.fromEntries(programs) as unknown,
  }, undefined, 2));
  const variables = {
    ...fleet.environment,
    ...Object.fromEntries(fleet.lab.hosts().map((host) => [`DEMO_LIBVIRT_${host.name.toUpperCase()}`, host.uri])),
  };
  writeWhole(DEMO_ENV, Object.entries(variables).map(([name, value]) => `export ${name}='${value}'\n`).join(""));
  writeWhole(DEMO_READY, "");
}

/** A reader sees the old file or the new one, never half of one. Nobody else reads it: a token is in one of them. */
function writeWhole(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
