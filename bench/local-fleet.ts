/**
 * The control plane with agents over libvirt's test driver, all on this machine and without hosts: what Drover itself
 * costs, as here the hypervisor costs nothing. Every program is a process of its own, as on a real fleet.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { NodeSessionState } from "../gen/drover/v1/node.ts";
import { REPOSITORY } from "../test/lab/guest.ts";
import { Pki } from "../test/lab/pki.ts";
import type { CertificateFiles } from "../test/lab/pki.ts";
import { linesOf, Program, waitFor, waitForSocket } from "../test/lab/process.ts";
import { clientsOf } from "./control-plane.ts";
import { connect } from "../lib/client.ts";

const HOST = "127.0.0.1";
const [USERS_PORT, AGENTS_PORT] = [17_443, 17_444];
const READY_TIMEOUT_MS = 20_000;
/** Memory in KiB for thousands of machines: nothing of it is ever used. */
const NODE_XML = `<node><cpu><mhz>2000</mhz><model>x86_64</model><active>64</active><nodes>1</nodes><sockets>1</sockets><cores>64</cores>
<threads>1</threads></cpu><memory>1073741824</memory></node>`;

export type LocalFleetOptions = { agents: readonly string[]; controller?: boolean; apiServer?: Record<string, unknown> };

export class LocalFleet implements AsyncDisposable {
  readonly directory: string;
  readonly server = `${HOST}:${USERS_PORT}`;
  readonly agentsServer = `${HOST}:${AGENTS_PORT}`;
  readonly #pki: Pki;
  readonly #programs = new Map<string, Program>();

  private constructor(directory: string, pki: Pki) {
    this.directory = directory;
    this.#pki = pki;
  }

  static async start({ agents, controller = true, apiServer = {} }: LocalFleetOptions): Promise<LocalFleet> {
    const directory = mkdtempSync(join(tmpdir(), "drover-bench-"));
    const pki = await Pki.create(join(directory, "pki"), { serverAddress: HOST, nodes: [...agents, "bench"] });
    const fleet = new LocalFleet(directory, pki);
    try {
      writeFileSync(join(directory, "node.xml"), NODE_XML);
      await fleet.startApiServer(apiServer);
      if (controller) await fleet.#start("controller", "controller", { server: fleet.unixServer, cpuAllocationRatio: 100 });
      await Promise.all(agents.map((name) => fleet.#startAgent(name)));
      await Promise.all(agents.map((name) => fleet.#ready(name)));
      return fleet;
    } catch (error) {
      await fleet[Symbol.asyncDispose]();
      throw error;
    }
  }

  get unixServer(): string {
    return `unix://${join(this.directory, "api.sock")}`;
  }

  certificate(node: string): CertificateFiles {
    return this.#pki.node(node);
  }

  /** Every program with its process, a driver child not included. */
  pids(): Map<string, number> {
    return new Map([...this.#programs].map(([name, { pid }]) => [name, pid]));
  }

  async startApiServer(overrides: Record<string, unknown> = {}): Promise<void> {
    await this.#programs.get("api-server")?.stop();
    await this.#start("api-server", "api-server", {
      store: `sqlite:${join(this.directory, "drover.db")}`,
      listen: { unix: join(this.directory, "api.sock"), tcp: this.server, agents: this.agentsServer },
      agentsTls: this.#pki.apiServer,
      ...overrides,
    });
    await waitForSocket(join(this.directory, "api.sock"), { timeoutMs: READY_TIMEOUT_MS });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#programs.values()].toReversed().map((program) => program.stop()));
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #startAgent(name: string): Promise<void> {
    const stateDirectory = join(this.directory, name);
    mkdirSync(stateDirectory);
    const config = { server: this.agentsServer, tls: this.#pki.node(name), stateDirectory, libvirtUri: `test://${join(this.directory, "node.xml")}`, allowEmulation: true };
    await this.#start(name, "node-agent", config);
  }

  async #start(name: string, program: string, config: Record<string, unknown>): Promise<void> {
    const file = join(this.directory, `${name}.yaml`);
    writeFileSync(file, stringify(config));
    const args = ["--pdeathsig", "KILL", "--", process.execPath, join(REPOSITORY, program, "main.ts"), "--config", file];
    this.#programs.set(name, await Program.start({ command: "setpriv", args, logFile: join(this.directory, `${name}.log`) }));
  }

  async #ready(name: string): Promise<void> {
    using connection = connect({ server: this.unixServer });
    const { nodes } = clientsOf(connection);
    try {
      await waitFor(`node ${name} to connect`, async () => {
        const { node } = await nodes.getNode({ name }).catch(() => ({ node: undefined }));
        return (node?.status?.session?.state === NodeSessionState.CONNECTED && node.status.report?.hypervisorConnected) || undefined;
      }, { timeoutMs: READY_TIMEOUT_MS });
    } catch (cause) {
      throw new Error(`${(cause as Error).message}: ${linesOf(join(this.directory, `${name}.log`)).slice(-5).join("\n")}`, { cause });
    }
  }
}
