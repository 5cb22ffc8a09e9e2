/**
 * The control plane with agents over libvirt's test driver, all on this machine and without hosts: what Drover itself
 * costs, as here the hypervisor costs nothing. Every program is a process of its own, as on a real fleet.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { NodeSessionState } from "../gen/drover/v1/node.ts";
import { REPOSITORY } from "../test/lab/guest.ts";
import { linesOf, Program, run, waitFor, waitForSocket } from "../test/lab/process.ts";
import { overcommit } from "./overcommit.ts";
import { clientsOf } from "./control-plane.ts";
import { AuthServiceDefinition } from "../gen/drover/v1/auth.ts";
import { connect } from "../lib/client.ts";
import type { Access, TlsFiles } from "../lib/client.ts";
import { identityFiles } from "../node-agent/join/identity-files.ts";

const HOST = "127.0.0.1";
const [USERS_PORT, AGENTS_PORT, ENROLMENT_PORT] = [17_443, 17_444, 17_445];
const READY_TIMEOUT_MS = 60_000;
/** Memory in KiB for thousands of machines: nothing of it is ever used. */
const NODE_XML = `<node><cpu><mhz>2000</mhz><model>x86_64</model><active>64</active><nodes>1</nodes><sockets>1</sockets><cores>64</cores>
<threads>1</threads></cpu><memory>1073741824</memory></node>`;

export type LocalFleetOptions = { agents: readonly string[]; controller?: boolean; apiServer?: Record<string, unknown> };

export class LocalFleet implements AsyncDisposable {
  readonly directory: string;
  readonly server = `${HOST}:${USERS_PORT}`;
  readonly agentsServer = `${HOST}:${AGENTS_PORT}`;
  readonly #programs = new Map<string, Program>();

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async start({ agents, controller = true, apiServer = {} }: LocalFleetOptions): Promise<LocalFleet> {
    const directory = mkdtempSync(join(tmpdir(), "drover-bench-"));
    const fleet = new LocalFleet(directory);
    try {
      writeFileSync(join(directory, "node.xml"), NODE_XML);
      await fleet.startApiServer(apiServer);
      if (controller) await fleet.#start("controller", "controller", { server: fleet.unixServer });
      await Promise.all(agents.map((name) => fleet.#startAgent(name)));
      await Promise.all(agents.map((name) => fleet.#ready(name)));
      await overcommit(fleet.unixServer);
      return fleet;
    } catch (error) {
      await fleet[Symbol.asyncDispose]();
      throw error;
    }
  }

  get unixServer(): string {
    return `unix://${join(this.directory, "api.sock")}`;
  }

  /** How an administrator far away is known: by a token, over TLS. */
  async access(): Promise<Access & { server: string }> {
    using connection = connect({ server: this.unixServer });
    const asked = { name: "bench", role: "admin", namespaces: [], ttlSeconds: 0, requestId: "", validateOnly: false };
    const { token } = await connection.client(AuthServiceDefinition).createServiceToken(asked);
    return { server: this.server, tls: { ca: join(this.directory, "pki/ca.pem") }, token };
  }

  /** Makes a host a node, as its administrator does. Answers the certificate that its agent shows. */
  async join(name: string): Promise<TlsFiles> {
    using connection = connect({ server: this.unixServer });
    const { token } = await clientsOf(connection).nodes.createNodeToken({ name, ttlSeconds: 0, requestId: "", validateOnly: false });
    const stateDirectory = join(this.directory, name);
    await run(join(REPOSITORY, "bin/drover-node-agent"), ["join", `${HOST}:${ENROLMENT_PORT}`, token, "--state-directory", stateDirectory]);
    return identityFiles(stateDirectory).node;
  }

  /** Every program with its process, a driver child not included. */
  pids(): Map<string, number> {
    return new Map([...this.#programs].map(([name, { pid }]) => [name, pid]));
  }

  async startApiServer(overrides: Record<string, unknown> = {}): Promise<void> {
    await this.#programs.get("api-server")?.stop();
    await this.#start("api-server", "api-server", {
      store: `sqlite:${join(this.directory, "drover.db")}`,
      pki: { directory: join(this.directory, "pki") },
      listen: { unix: join(this.directory, "api.sock"), public: this.server, agents: this.agentsServer, enrolment: `${HOST}:${ENROLMENT_PORT}` },
      // One caller makes the load of many here.
      limits: { readsPerSecond: 100_000, mutationsPerSecond: 100_000, streamsPerCallerMax: 65_536 },
      ...overrides,
    });
    await waitForSocket(join(this.directory, "api.sock"), { timeoutMs: READY_TIMEOUT_MS });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#programs.values()].toReversed().map((program) => program.stop()));
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #startAgent(name: string): Promise<void> {
    await this.join(name);
    const stateDirectory = join(this.directory, name);
    const config = { server: this.agentsServer, stateDirectory, libvirtUri: `test://${join(this.directory, "node.xml")}`, allowEmulation: true };
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
