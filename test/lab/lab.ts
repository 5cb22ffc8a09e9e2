/**
 * Real hosts on one Linux machine: each with its own namespaces, libvirtd and QEMU, joined by a bridge on which the
 * test has an address. A lab is recorded before it is built, removed when its scope ends, and removed as well when
 * its maker is killed. It needs root, and nothing of the machine's own libvirt.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { systemRandom } from "../../lib/random.ts";
import { destroyLab, sweepLabs } from "./destroy.ts";
import { installGuest, type Guest } from "./guest.ts";
import { makeHostDirectories, type HostIdentity } from "./host-files.ts";
import { LabHost } from "./host.ts";
import { addBridge, bridgeAddressOf, freeSubnets, hostAddressOf, PREFIX_BITS } from "./network.ts";
import { Authority, writeQemuPki } from "./pki.ts";
import { identityOf } from "./proc-table.ts";
import { CommandFailed, Program, run, type ProgramOptions } from "./process.ts";
import { defaultDirectory, reserveSubnet, writeState, type LabState } from "./state.ts";

const RUN_ID_LENGTH = 8;
const SOCKET_PATH_LENGTH_MAX = 107;
const PROGRAMS = ["libvirtd", "virsh", "qemu-system-x86_64", "qemu-img", "busybox", "ip", "iptables", "unshare", "nsenter", "setpriv"];

export type LabOptions = {
  hosts: readonly string[];
  /** Up to eight lower-case letters and digits, from which every name is derived. Random when absent. */
  runId?: string;
  /** Everything the lab makes is below it. It must not exist or be empty. */
  directory?: string;
};

export class LabUnavailable extends Error {
  override name = "LabUnavailable";
}

type Parts = { state: LabState; subnet: string; hosts: Map<string, LabHost>; guest: Guest };

export class Lab {
  readonly directory: string;
  /** `10.x.y.0/24`. */
  readonly subnet: string;
  /** The test's own address on the hosts' network, for an api-server to listen on. */
  readonly bridgeAddress: string;
  readonly bridge: string;
  /** One directory, at one path on every host and outside. */
  readonly poolDirectory: string;
  readonly guest: Guest;
  readonly #hosts: Map<string, LabHost>;
  readonly #state: LabState;

  private constructor({ state, subnet, hosts, guest }: Parts) {
    this.#state = state;
    this.#hosts = hosts;
    this.directory = state.directory;
    this.bridge = state.bridge;
    this.subnet = `${subnet}.0/${PREFIX_BITS}`;
    this.bridgeAddress = bridgeAddressOf(subnet);
    this.poolDirectory = poolOf(state);
    this.guest = guest;
  }

  /** Why there can be no lab on this machine; undefined when there can. */
  static async unavailable(): Promise<string | undefined> {
    if (process.platform !== "linux") return "a lab needs Linux";
    if (process.getuid?.() !== 0) return "a lab needs root";
    const missing = PROGRAMS.filter((program) => !isInstalled(program));
    if (missing.length > 0) return `a lab needs ${missing.join(", ")}: run scripts/setup.sh`;
    try {
      await run("unshare", ["-n", "-m", "-u", "-i", "-p", "--fork", "true"]);
    } catch (error) {
      if (error instanceof CommandFailed) return `a lab needs namespaces: ${error.stderr.trim()}`;
      throw error;
    }
    return undefined;
  }

  static async start(options: LabOptions): Promise<Lab> {
    const reason = await Lab.unavailable();
    if (reason !== undefined) throw new LabUnavailable(reason);
    await sweepLabs();
    const state = await record(options);
    try {
      await startGuard(state);
      return await build(state, (parts) => new Lab(parts));
    } catch (error) {
      await destroyLab(state.directory);
      throw error;
    }
  }

  /** Removes a lab by its directory, whoever made it. */
  static destroy(directory: string): Promise<void> {
    return destroyLab(directory);
  }

  /** Removes every lab whose maker is dead. */
  static sweep(): Promise<void> {
    return sweepLabs();
  }

  host(name: string): LabHost {
    const host = this.#hosts.get(name);
    if (!host) throw new Error(`The lab has no host "${name}", only ${[...this.#hosts.keys()].join(", ")}`);
    return host;
  }

  hosts(): LabHost[] {
    return [...this.#hosts.values()];
  }

  /** Starts a program outside the hosts that ends with the lab, and with the lab's maker. */
  async spawn(command: string, args: readonly string[], options: Pick<ProgramOptions, "logFile" | "env" | "cwd">): Promise<Program> {
    const program = await Program.start({ command: "setpriv", args: ["--pdeathsig", "KILL", "--", command, ...args], ...options });
    this.#state.processes.push(program.identity);
    writeState(this.#state);
    return program;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await destroyLab(this.directory);
  }
}

const poolOf = ({ directory }: LabState) => join(directory, "pool");
const hostDirectoryOf = ({ directory }: LabState, name: string) => join(directory, "hosts", name);

/** The record is on disk before there is anything to remember. */
async function record({ runId = systemRandom.token(RUN_ID_LENGTH), directory = defaultDirectory(runId), hosts }: LabOptions): Promise<LabState> {
  if (!/^[a-z0-9]{1,8}$/.test(runId)) throw new LabUnavailable(`a run id is up to eight lower-case letters and digits, not "${runId}"`);
  const state: LabState = {
    runId,
    directory,
    maker: identityOf(process.pid)!,
    bridge: `drover-${runId}`,
    hosts: hosts.map((name, index) => ({ name, link: `dv${runId}-${index}`, processes: [] })),
    processes: [],
  };
  const longest = hosts.map((name) => `${hostDirectoryOf(state, name)}/run/libvirt/libvirt-admin-sock`.length);
  if (Math.max(...longest) > SOCKET_PATH_LENGTH_MAX) throw new LabUnavailable(`"${directory}" is too long for socket paths below it`);
  if (existsSync(directory) && (await readdir(directory)).length > 0) throw new LabUnavailable(`"${directory}" is not empty`);
  mkdirSync(directory, { recursive: true });
  writeState(state);
  return state;
}

/** A shell waits on a pipe that closes when this process ends, in whatever way, and then becomes the guard. */
async function startGuard(state: LabState): Promise<void> {
  const guard = join(import.meta.dirname, "guard.ts");
  const child = spawn("bash", ["-c", 'cat >/dev/null; exec "$@"', "lab-guard", process.execPath, guard, state.directory], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    cwd: "/",
  });
  await once(child, "spawn");
  child.stdin.on("error", () => undefined); // The guard is killed with the lab.
  child.unref();
  const identity = identityOf(child.pid!);
  if (identity) state.processes.push(identity);
  writeState(state);
}

async function build(state: LabState, finish: (parts: Parts) => Lab): Promise<Lab> {
  const subnet = await takeSubnet(state);
  await addBridge(state.bridge, bridgeAddressOf(subnet));
  await mkdir(poolOf(state));
  await mkdir(join(state.directory, "local"));
  const [guest, hosts] = await Promise.all([installGuest(poolOf(state)), bootHosts(state, subnet)]);
  return finish({ state, subnet, hosts, guest });
}

async function takeSubnet(state: LabState): Promise<string> {
  for await (const subnet of freeSubnets(systemRandom)) {
    if (!reserveSubnet(subnet, state.directory)) continue;
    state.subnet = subnet;
    writeState(state);
    return subnet;
  }
  throw new LabUnavailable("no network is free");
}

async function bootHosts(state: LabState, subnet: string): Promise<Map<string, LabHost>> {
  const authority = await Authority.create("drover lab hosts");
  const identities: HostIdentity[] = state.hosts.map(({ name }, index) => ({
    name,
    address: hostAddressOf(subnet, index),
    uuid: systemRandom.uuid(),
  }));
  const hosts = await Promise.all(identities.map(async (identity) => {
    const directory = hostDirectoryOf(state, identity.name);
    await makeHostDirectories(directory, identity, identities);
    const subject = { commonName: identity.name, addresses: [identity.address], names: [identity.name] };
    await writeQemuPki(join(directory, "etc/pki/qemu"), authority, subject);
    const host = hostOf(state, identity);
    await host.powerOn();
    return host;
  }));
  return new Map(hosts.map((host) => [host.name, host]));
}

function hostOf(state: LabState, { name, address }: HostIdentity): LabHost {
  const own = state.hosts.find((host) => host.name === name)!;
  return new LabHost({
    name,
    address,
    directory: hostDirectoryOf(state, name),
    poolDirectory: poolOf(state),
    localMount: join(state.directory, "local"),
    bridge: state.bridge,
    link: own.link,
    onBoot: (processes) => {
      own.processes = processes;
      writeState(state);
    },
  });
}

function isInstalled(program: string): boolean {
  return ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].some((directory) => existsSync(join(directory, program)));
}
