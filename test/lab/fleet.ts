/**
 * The whole of Drover on a lab: api-server and controller outside the hosts, an agent on each, every one a real
 * process that can be killed and started again, and the `drover` command to use it with.
 */
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { AuthServiceDefinition } from "../../gen/drover/v1/auth.ts";
import { connect } from "../../lib/client.ts";
import type { Connection } from "../../lib/client.ts";
import { NodeServiceDefinition, NodeSessionState } from "../../gen/drover/v1/node.ts";
import { VirtualMachineServiceDefinition } from "../../gen/drover/v1/virtual_machine.ts";
import { VirtualMachineInstanceServiceDefinition } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { VolumeServiceDefinition } from "../../gen/drover/v1/volume.ts";
import { MigrationServiceDefinition } from "../../gen/drover/v1/migration.ts";
import { REPOSITORY } from "./guest.ts";
import { Lab } from "./lab.ts";
import type { LabHost } from "./host.ts";
import { CommandFailed, linesOf, run, waitFor, waitForSocket } from "./process.ts";
import type { Program } from "./process.ts";

const READY_TIMEOUT_MS = 60_000;
const LOG_LINES = 8;
const AGENTS_PORT = 7444;
const ENROLMENT_PORT = 7445;
const USERS_PORT = 7443;
/** Short, so that a test of silence does not take long; everything else is as shipped. */
export const LEASE_MS = 6_000;

export type FleetOptions = {
  hosts?: readonly string[];
  directory?: string;
  /** Told where the lab is, before Drover's programs start. */
  onDirectory?: (directory: string) => void;
  /** Merged into the programs' configuration. */
  controller?: Record<string, unknown>;
  apiServer?: Record<string, unknown>;
  /** Merged into the agents' `migration`. */
  agentMigration?: Record<string, unknown>;
};

/** The ends of every program's log, for an error that is read when the lab is gone. */
function lastWords(directory: string): string {
  const logs = join(directory, "log");
  if (!existsSync(logs)) return "";
  return readdirSync(logs).map((file) => `--- ${file}\n${linesOf(join(logs, file)).slice(-LOG_LINES).join("\n")}`).join("\n");
}

/** A program of the fleet under one name, whichever process runs it at the moment. */
export class Service {
  readonly name: string;
  readonly logFile: string;
  readonly #launch: () => Promise<Program>;
  #program: Program | undefined;

  constructor(name: string, logFile: string, launch: () => Promise<Program>) {
    this.name = name;
    this.logFile = logFile;
    this.#launch = launch;
  }

  get pid(): number {
    if (!this.#program) throw new Error(`${this.name} was never started`);
    return this.#program.pid;
  }

  isAlive(): boolean {
    return this.#program?.isAlive() ?? false;
  }

  async start(): Promise<void> {
    this.#program = await this.#launch();
  }

  signal(signal: NodeJS.Signals): void {
    this.#program?.kill(signal);
  }

  /** `kill -9`, and waits until the process is gone. */
  async kill(): Promise<void> {
    this.#program?.kill("SIGKILL");
    await waitFor(`${this.name} to be gone`, () => !this.isAlive() || undefined);
  }

  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }
}

export class Fleet {
  readonly lab: Lab;
  readonly apiServer: Service;
  readonly controller: Service;
  /** For users and the controller, over TLS. */
  readonly server: string;
  /** For the local administrator, and for the status calls of the control plane. */
  readonly unixServer: string;
  #token = "";
  readonly #agents: Map<string, Service>;
  #connection: Connection | undefined;

  private constructor(lab: Lab, options: FleetOptions) {
    this.lab = lab;
    const [, x, y] = lab.subnet.split(".");
    this.server = `127.${x}.${y}.1:${USERS_PORT}`;
    this.unixServer = `unix://${join(lab.directory, "drover/api.sock")}`;
    this.apiServer = this.#outside("api-server", { ...this.#apiServerConfig(), ...options.apiServer });
    this.controller = this.#outside("controller", { ...this.#controllerConfig(), ...options.controller });
    this.#agents = new Map(lab.hosts().map((host) => [host.name, this.#onHost(host, options.agentMigration)]));
  }

  static async start(options: FleetOptions = {}): Promise<Fleet> {
    const { hosts = ["a", "b"], directory } = options;
    const lab = await Lab.start({ hosts, ...(directory === undefined ? {} : { directory }) });
    options.onDirectory?.(lab.directory);
    try {
      await mkdir(join(lab.directory, "drover/store"), { recursive: true });
      const fleet = new Fleet(lab, options);
      await fleet.apiServer.start();
      await waitForSocket(join(lab.directory, "drover/api.sock"), { timeoutMs: READY_TIMEOUT_MS });
      await Promise.all([fleet.controller.start(), fleet.#makeToken(), ...lab.hosts().map((host) => fleet.#join(host))]);
      await Promise.all(hosts.map((name) => fleet.nodeReady(name)));
      return fleet;
    } catch (cause) {
      const error = new Error(`The fleet did not start: ${(cause as Error).message}\n${lastWords(lab.directory)}`, { cause });
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  agent(name: string): Service {
    const agent = this.#agents.get(name);
    if (!agent) throw new Error(`The fleet has no agent on "${name}"`);
    return agent;
  }

  agents(): Service[] {
    return [...this.#agents.values()];
  }

  /** Generated clients, as the local administrator. */
  get api() {
    this.#connection ??= connect({ server: this.unixServer });
    const { client } = this.#connection;
    return {
      machines: client(VirtualMachineServiceDefinition),
      instances: client(VirtualMachineInstanceServiceDefinition),
      migrations: client(MigrationServiceDefinition),
      nodes: client(NodeServiceDefinition),
      volumes: client(VolumeServiceDefinition),
    };
  }

  /** `kill -9` and start again. */
  async restartApiServer(): Promise<void> {
    await this.apiServer.restart();
    await this.reconnect();
  }

  /** The test's own clients begin on a fresh connection, which waits for no back-off of the one before. */
  async reconnect(): Promise<void> {
    await waitForSocket(this.unixServer.slice("unix://".length), { timeoutMs: READY_TIMEOUT_MS });
    await waitFor("the api-server to answer", () => {
      this.#connection?.[Symbol.dispose]();
      this.#connection = undefined;
      return this.api.nodes.getNode({ name: "a" }).then(() => true as const, () => undefined);
    }, { timeoutMs: READY_TIMEOUT_MS });
  }

  /** Resolves when the node's agent is connected and has said what the host has. */
  async nodeReady(name: string): Promise<void> {
    await waitFor(`node ${name} to connect (see ${this.logOf(`agent-${name}`)})`, async () => {
      const { node } = await this.api.nodes.getNode({ name }).catch(() => ({ node: undefined }));
      const connected = node?.status?.session?.state === NodeSessionState.CONNECTED;
      return (connected && node.status?.report?.hypervisorConnected) || undefined;
    }, { timeoutMs: READY_TIMEOUT_MS });
  }

  /** What makes a shell that of an administrator far away: the server, its authority and a token. */
  get environment(): { DROVER_SERVER: string; DROVER_CA: string; DROVER_TOKEN: string } {
    return { DROVER_SERVER: this.server, DROVER_CA: this.#authorityFile("ca.pem"), DROVER_TOKEN: this.#token };
  }

  /** Runs the `drover` command and gives what it printed; throws CommandFailed. */
  drover(...args: string[]): Promise<string> {
    return run(join(REPOSITORY, "bin/drover"), args, { env: this.environment, timeoutMs: 120_000 });
  }

  /** Runs the `drover` command where a refusal is expected. */
  async refused(...args: string[]): Promise<CommandFailed> {
    try {
      const output = await this.drover(...args);
      throw new Error(`"drover ${args.join(" ")}" was not refused: ${output}`);
    } catch (error) {
      if (error instanceof CommandFailed) return error;
      throw error;
    }
  }

  /** Names of the hosts on which libvirt itself says that the domain runs or is paused. */
  async hostsRunning(domainUuid: string): Promise<string[]> {
    const found = await Promise.all(this.lab.hosts().map(async (host) => ((await this.activeDomains(host)).includes(domainUuid) ? host.name : undefined)));
    return found.filter((name) => name !== undefined);
  }

  async activeDomains(host: LabHost): Promise<string[]> {
    if (!host.isOn()) return [];
    return (await host.virsh("list", "--uuid")).split("\n").map((line) => line.trim()).filter((line) => line !== "");
  }

  /** For a hook after each test: when it failed, what every program said last. */
  reportFailure(test: { state?: "failed" | "passed" | "pending" | undefined } | undefined): void {
    if (test?.state === "failed") process.stderr.write(`${lastWords(this.lab.directory)}\n`);
  }

  logOf(program: string): string {
    return join(this.lab.directory, "log", `${program}.log`);
  }

  /** Where the agents keep a machine's files, as seen from outside. */
  machineDirectory(host: LabHost, vmiUid: string): string {
    return join(host.localDirectory, "drover/machines", vmiUid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection?.[Symbol.dispose]();
    await this.lab[Symbol.asyncDispose]();
  }

  #apiServerConfig(): Record<string, unknown> {
    const { lab } = this;
    return {
      store: `sqlite:${join(lab.directory, "drover/store/drover.db")}`,
      pki: { directory: this.#authorityFile() },
      listen: {
        unix: join(lab.directory, "drover/api.sock"), public: this.server,
        agents: `${lab.bridgeAddress}:${AGENTS_PORT}`, enrolment: `${lab.bridgeAddress}:${ENROLMENT_PORT}`,
      },
      leaseMs: LEASE_MS,
      logLevel: "debug",
    };
  }

  #controllerConfig(): Record<string, unknown> {
    const [ca, cert, key] = ["ca.pem", "controller.pem", "controller.key"].map((file) => this.#authorityFile(file));
    return { server: this.server, tls: { ca, cert, key }, logLevel: "debug" };
  }

  #outside(name: string, config: Record<string, unknown>): Service {
    const logFile = this.logOf(name);
    return new Service(name, logFile, () =>
      this.lab.spawn(process.execPath, [join(REPOSITORY, name, "main.ts"), "--config", this.#configFile(name, config)], { logFile }));
  }

  #onHost(host: LabHost, migration: Record<string, unknown> = {}): Service {
    const name = `agent-${host.name}`;
    const config = {
      server: `${this.lab.bridgeAddress}:${AGENTS_PORT}`,
      stateDirectory: join(host.localMount, "drover"),
      libvirtUri: "qemu:///system",
      pools: [{ name: "shared", path: this.lab.poolDirectory }, { name: "local", path: join(host.localMount, "pool") }],
      migration: { address: host.address, ...migration },
      allowEmulation: true,
      logLevel: "debug",
    };
    const logFile = this.logOf(name);
    const file = this.#configFile(name, config);
    return new Service(name, logFile, async () => {
      await mkdir(join(host.localDirectory, "pool"), { recursive: true });
      return host.spawn(process.execPath, [join(REPOSITORY, "node-agent/main.ts"), "--config", file], { logFile });
    });
  }

  #authorityFile(file = ""): string {
    return join(this.lab.directory, "drover/pki", file);
  }

  /** As an administrator and a host do it: a token, a command on the host, and its agent. */
  async #join(host: LabHost): Promise<void> {
    const { token } = await this.api.nodes.createNodeToken({ name: host.name, ttlSeconds: 0, requestId: "", validateOnly: false });
    const server = `${this.lab.bridgeAddress}:${ENROLMENT_PORT}`;
    const config = join(this.lab.directory, "drover", `agent-${host.name}.yaml`);
    await host.run(join(REPOSITORY, "bin/drover-node-agent"), ["join", server, token, "--config", config]);
    await this.agent(host.name).start();
  }

  async #makeToken(): Promise<void> {
    this.#connection ??= connect({ server: this.unixServer });
    const asked = { name: "lab", role: "admin", namespaces: [], ttlSeconds: 0, requestId: "", validateOnly: false };
    this.#token = (await this.#connection.client(AuthServiceDefinition).createServiceToken(asked)).token;
  }

  #configFile(name: string, config: Record<string, unknown>): string {
    const path = join(this.lab.directory, "drover", `${name}.yaml`);
    writeFileSync(path, stringify(config));
    return path;
  }
}
