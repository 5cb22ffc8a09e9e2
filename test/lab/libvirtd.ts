/** A host's libvirt daemon, as something to start, kill and stop while its guests run on. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { LabHost } from "./host.ts";
import { identityOf, isAlive, nameOf, outsidePid, signalPid, signalProcess } from "./proc-table.ts";
import { CommandFailed, linesOf, run, waitFor } from "./process.ts";

const START_TIMEOUT_MS = 20_000;
const PROBE_TIMEOUT_MS = 5_000;
const LOG_LINES = 10;

export class Libvirtd {
  readonly #host: LabHost;

  constructor(host: LabHost) {
    this.#host = host;
  }

  /** The outside number, or undefined when no daemon runs. */
  pid(): number | undefined {
    const path = join(this.#host.directory, "run/libvirtd.pid");
    const inside = existsSync(path) ? Number(readFileSync(path, "utf8")) : 0;
    const pid = inside > 0 && this.#host.isOn() ? outsidePid(this.#host.pid1, inside) : undefined;
    return pid !== undefined && nameOf(pid) === "libvirtd" ? pid : undefined;
  }

  /** Resolves when the daemon answers a real call: it listens before its QEMU driver is ready. */
  async start(): Promise<void> {
    if (this.pid() === undefined) {
      await this.#launch();
    }
    await waitFor(`libvirt on ${this.#host.name} to answer`, () => this.#answers(), { timeoutMs: START_TIMEOUT_MS });
  }

  /** Resolves when the daemon is gone, for a signal that ends it. */
  async kill(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    const identity = identityOf(this.#running());
    if (!identity) return;
    signalProcess(identity, signal);
    await waitFor("libvirtd to end", () => !isAlive(identity) || undefined);
  }

  stop(): void {
    signalPid(this.#running(), "SIGSTOP");
  }

  cont(): void {
    signalPid(this.#running(), "SIGCONT");
  }

  async #launch(): Promise<void> {
    try {
      await this.#host.run("libvirtd", ["--daemon", "--pid-file", "/run/libvirtd.pid"], { timeoutMs: START_TIMEOUT_MS });
    } catch (cause) {
      throw new LibvirtdDidNotStart(this.#host, { cause });
    }
  }

  #running(): number {
    const pid = this.pid();
    if (pid === undefined) throw new Error(`No libvirtd runs on host "${this.#host.name}"`);
    return pid;
  }

  async #answers(): Promise<true | undefined> {
    try {
      await run("virsh", ["-c", this.#host.uri, "version"], { timeoutMs: PROBE_TIMEOUT_MS });
      return true;
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
      // It goes to the background before its drivers start, and ends when one of them cannot.
      if (this.pid() === undefined) throw new LibvirtdDidNotStart(this.#host, { cause: error });
      return undefined;
    }
  }
}

export class LibvirtdDidNotStart extends Error {
  override name = "LibvirtdDidNotStart";
  constructor({ name, directory }: LabHost, options: ErrorOptions) {
    const lastWords = linesOf(join(directory, "var/log/libvirtd.log")).slice(-LOG_LINES).join("\n");
    super(`libvirtd did not start on host "${name}": ${lastWords}`, options);
  }
}
