/**
 * One host of the lab: a libvirtd and its guests in namespaces of their own, which can lose its power, its network,
 * its daemon or its time, each by one call.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { emptyRunDirectory } from "./host-files.ts";
import { REPOSITORY } from "./guest.ts";
import { Libvirtd } from "./libvirtd.ts";
import { attachHost, PREFIX_BITS, removeLink, setLink, type Direction } from "./network.ts";
import {
  childrenOf, identityOf, isAlive, isStopped, leadersOf, pidsInNamespaceOf, signalPid, signalProcess,
  type ProcessIdentity,
} from "./proc-table.ts";
import { Program, run, waitFor, type ProgramOptions } from "./process.ts";

const INIT = join(import.meta.dirname, "host-init.sh");
const START_TIMEOUT_MS = 20_000;

export class HostIsOff extends Error {
  override name = "HostIsOff";
  constructor(name: string) {
    super(`Host "${name}" has no power`);
  }
}

export type HostOptions = {
  name: string;
  address: string;
  directory: string;
  poolDirectory: string;
  /** Where every host sees its own local directory. */
  localMount: string;
  bridge: string;
  link: string;
  /** Told at each boot, before anything else can fail, so that the processes can be found by the lab's record. */
  onBoot: (processes: ProcessIdentity[]) => void;
};

export class LabHost {
  readonly name: string;
  readonly address: string;
  readonly directory: string;
  readonly poolDirectory: string;
  /** The host's own disk, as seen from outside. */
  readonly localDirectory: string;
  /** The same directory, at a path that is equal on every host and shows each host its own. */
  readonly localMount: string;
  readonly socketPath: string;
  /** For clients outside the host, over its unix socket. */
  readonly uri: string;
  /**
   * For another host's daemon, past every door: the hosts of a lab share a disk, and so their sockets. For tests of what
   * is below the agent.
   */
  readonly directUri: string;
  readonly libvirtd: Libvirtd;
  readonly #options: HostOptions;
  readonly #cuts = new Set<Direction>();
  #pid1: ProcessIdentity | undefined;

  constructor(options: HostOptions) {
    this.#options = options;
    this.name = options.name;
    this.address = options.address;
    this.directory = options.directory;
    this.poolDirectory = options.poolDirectory;
    this.localDirectory = join(options.directory, "local");
    this.localMount = options.localMount;
    this.socketPath = join(options.directory, "run/libvirt/libvirt-sock");
    this.uri = `qemu:///system?socket=${this.socketPath}`;
    this.directUri = `qemu+unix:///system?socket=${this.socketPath}`;
    this.libvirtd = new Libvirtd(this);
  }

  /** The outside number of the host's first process. */
  get pid1(): number {
    if (!this.#pid1) throw new HostIsOff(this.name);
    return this.#pid1.pid;
  }

  isOn(): boolean {
    return this.#pid1 !== undefined && isAlive(this.#pid1);
  }

  /** Boots the host with the disks it had; resolves when libvirt answers. */
  async powerOn(): Promise<void> {
    if (this.isOn()) return;
    await emptyRunDirectory(this.directory);
    const { bridge, link, onBoot } = this.#options;
    const { shell, letGo } = await this.#unshare();
    const pid1 = await waitFor("the host's first process", () => childrenOf(shell.pid).map(identityOf).find((found) => found !== undefined));
    this.#pid1 = pid1;
    onBoot([shell, pid1]);
    await attachHost({ bridge, link, pid: pid1.pid });
    letGo();
    await waitFor(`host ${this.name} to boot (see ${this.directory}/init.log)`, () => this.#ready(), { timeoutMs: START_TIMEOUT_MS });
    await this.libvirtd.start();
  }

  /** A power cut: every process of the host is gone at once, nothing is said to anybody. */
  async powerOff(): Promise<void> {
    if (!this.#pid1) return;
    const pid1 = this.#pid1;
    const leaders = leadersOf(this.pids()); // One that leads to a stopped program would keep the namespace from ending.
    signalProcess(pid1, "SIGKILL");
    for (const pid of leaders) signalPid(pid, "SIGKILL");
    await waitFor("the host to be gone", () => !isAlive(pid1) || undefined);
    await removeLink(this.#options.link);
    this.#cuts.clear();
    this.#pid1 = undefined;
  }

  async cutLink(direction: Direction = "both"): Promise<void> {
    if (this.#cuts.has(direction)) return;
    await setLink({ link: this.#options.link, pid1: this.pid1, direction, cut: true });
    this.#cuts.add(direction);
  }

  /** Mends every cut. */
  async restoreLink(): Promise<void> {
    for (const direction of this.#cuts) {
      await setLink({ link: this.#options.link, pid1: this.pid1, direction, cut: false });
      this.#cuts.delete(direction);
    }
  }

  /** Stops time for every process of the host; repeated, because one that still runs can fork. */
  async freeze(): Promise<void> {
    await waitFor("the host to stand still", () => {
      const running = this.pids().filter((pid) => !isStopped(pid));
      for (const pid of running) signalPid(pid, "SIGSTOP");
      return running.length === 0 || undefined;
    });
  }

  thaw(): void {
    const pids = this.pids();
    for (const pid of [...pids, ...leadersOf(pids)]) signalPid(pid, "SIGCONT");
  }

  /** Every process of the host, by its outside number. */
  pids(): number[] {
    return this.#pid1 ? pidsInNamespaceOf(this.#pid1.pid) : [];
  }

  /** Starts a program on the host; its `pid` is the program's own, as seen from outside. */
  spawn(command: string, args: readonly string[], { env, logFile, cwd = REPOSITORY }: { logFile: string } & Pick<ProgramOptions, "env" | "cwd">): Promise<Program> {
    return Program.start({
      command: "nsenter",
      args: this.#enter(["sh", "-c", 'cd "$0" && exec "$@"', cwd, command, ...args]),
      logFile,
      ...(env ? { env } : {}),
      resolvePid: (pid) => childrenOf(pid)[0],
    });
  }

  /** Runs a command on the host to its end. */
  run(command: string, args: readonly string[] = [], options: { timeoutMs?: number } = {}): Promise<string> {
    return run("nsenter", this.#enter([command, ...args]), options);
  }

  /** Runs virsh outside the host, over its unix socket. */
  virsh(...args: string[]): Promise<string> {
    return run("virsh", ["-c", this.uri, ...args]);
  }

  #enter(command: readonly string[]): string[] {
    return ["-t", String(this.pid1), "-r", "-m", "-u", "-i", "-n", "-p", "--", ...command];
  }

  #ready(): true | undefined {
    if (existsSync(join(this.directory, "ready"))) return true;
    if (!this.isOn()) throw new Error(`Host "${this.name}" did not boot: ${readFileSync(join(this.directory, "init.log"), "utf8")}`);
    return undefined;
  }

  /** The pipe to the host's first process is the maker's life: the host ends when it closes. */
  async #unshare(): Promise<{ shell: ProcessIdentity; letGo: () => void }> {
    const { directory, localMount, name, address } = this.#options;
    const log = openSync(join(directory, "init.log"), "a");
    const child = spawn(
      "unshare",
      ["-n", "-m", "-u", "-i", "-p", "--fork", "--kill-child=KILL", "bash", INIT, directory, localMount, name, `${address}/${PREFIX_BITS}`],
      { stdio: ["pipe", log, log], detached: true },
    );
    closeSync(log);
    const life = child.stdin!;
    await once(child, "spawn");
    life.on("error", () => undefined); // The host may lose its power before it reads.
    child.unref();
    const shell = identityOf(child.pid!);
    if (!shell) throw new Error(`Host "${name}" did not boot: ${readFileSync(join(directory, "init.log"), "utf8")}`);
    return { shell, letGo: () => life.write("eth0 is here\n") };
  }
}
