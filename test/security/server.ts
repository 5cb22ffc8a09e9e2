/** A whole api-server as it is installed: its own process, a store on the disk, TLS on every listener; and whoever attacks it. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { NodeAgentServiceDefinition } from "../../gen/drover/agent/v1/agent.ts";
import type { ReportRequest } from "../../gen/drover/agent/v1/agent.ts";
import { AuditServiceDefinition } from "../../gen/drover/v1/audit.ts";
import type { VirtualMachineInstanceSpec } from "../../gen/drover/v1/machine.ts";
import { NodeReport } from "../../gen/drover/v1/node.ts";
import type { Node } from "../../gen/drover/v1/node.ts";
import type { SubjectKind } from "../../gen/drover/v1/role_binding.ts";
import { RunStrategy, VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { DomainState, OwnerReport, Phase, VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { connect } from "../../lib/client.ts";
import type { ClientTls, Connection } from "../../lib/client.ts";
import { newRequest } from "../../lib/pki/keys.ts";
import { binding, clientsOf, EVERYTHING, ONCE, user } from "../contract/auth-server.ts";
import { enrol } from "../contract/enrol.ts";
import { REPOSITORY } from "../lab/guest.ts";
import { Program, waitFor } from "../lab/process.ts";
import { Agent } from "../unit/api-server/sessions/serving.ts";
import { BOOT } from "../unit/api-server/subresources/records.ts";

const LISTENERS = ["public", "agents", "enrolment"] as const;
export type Listener = (typeof LISTENERS)[number];

const allClientsOf = (connection: Connection) => ({ ...clientsOf(connection), audit: connection.client(AuditServiceDefinition) });
export type Clients = ReturnType<typeof allClientsOf>;
export type NodeClient = ReturnType<typeof agentClientOf>;
const agentClientOf = (connection: Connection) => connection.client(NodeAgentServiceDefinition);

/** The least machine: what a tenant writes. */
export const SPEC = { domain: { memory: { guest: "64Mi" } } };
export type Spec = NonNullable<Parameters<typeof VirtualMachineInstanceSpec.create>[0]>;
export const machineOf = (name: string, { namespace = "default", spec = SPEC }: { namespace?: string; spec?: Spec } = {}) =>
  VirtualMachine.create({ metadata: { name, namespace }, spec: { runStrategy: RunStrategy.MANUAL, template: { spec } } });

export async function startInstalled({ settings = {} }: { settings?: Record<string, unknown> } = {}) {
  const directory = mkdtempSync(join(tmpdir(), "drover-security-"));
  const [config, unix, pki] = [join(directory, "config.yaml"), join(directory, "api.sock"), join(directory, "pki")];
  const listen = { unix, ...Object.fromEntries(LISTENERS.map((name) => [name, "127.0.0.1:0"])) };
  const store = join(directory, "store/drover.db");
  writeFileSync(config, stringify({ store: `sqlite:${store}`, pki: { directory: pki }, listen, logLevel: "trace", ...settings }));
  mkdirSync(join(directory, "store"), { mode: 0o700 });
  let runs = 0;
  const logFileOf = (run: number) => join(directory, `log/api-server-${run}`);
  const start = async () => {
    const logFile = logFileOf((runs += 1));
    const program = await Program.start({ command: process.execPath, args: [join(REPOSITORY, "api-server/main.ts"), "--config", config], logFile });
    await program.waitForLine(/"msg":"serving"/);
    const ports = await Promise.all(LISTENERS.map((name) => program.waitForLine(new RegExp(`"listener":"${name}","address":"[^"]*","port":(\\d+)`))));
    return { program, addresses: Object.fromEntries(LISTENERS.map((name, index) => [name, `127.0.0.1:${ports[index]![1]}`])) as Record<Listener, string> };
  };
  let { program, addresses } = await start();
  const ca = join(pki, "ca.pem");
  const connections: Connection[] = [];
  const open = (server: string, tls?: ClientTls) => {
    const connection = connect({ server, ...(tls && { tls }) });
    connections.push(connection);
    return connection;
  };
  const admin = allClientsOf(open(`unix://${unix}`));
  /** Files of a client certificate that the server itself has signed. */
  async function certificate(name: string, groups: string[] = []): Promise<Required<ClientTls>> {
    const { csrPem, keyPem } = await newRequest();
    const { certificatePem } = await admin.auth.signUserCertificate({ csrPem, user: name, groups, ttlSeconds: 0 });
    const [cert, key] = [join(directory, `${name}.pem`), join(directory, `${name}.key`)];
    writeFileSync(cert, certificatePem);
    writeFileSync(key, keyPem, { mode: 0o600 });
    return { ca, cert, key };
  }
  const token = async (node: string, ttlSeconds = 0) => (await admin.nodes.createNodeToken({ name: node, ttlSeconds, ...ONCE })).token;
  return {
    directory, unix, ca, store, pki, admin, certificate, token, open,
    get program() { return program; },
    get addresses() { return addresses; },
    /** The log of every run. */
    log: () => Array.from({ length: runs }, (_, run) => readFileSync(logFileOf(run + 1), "utf8")).join(""),
    /** Ends the server, does something in its absence, and starts it again. The listeners get other ports. */
    async restart(meanwhile: () => unknown = () => undefined, signal: NodeJS.Signals = "SIGKILL") {
      program.kill(signal);
      await program.exited;
      await meanwhile();
      ({ program, addresses } = await start());
      await waitFor("the server to answer", () => admin.spaces.getNamespace({ name: "default" }).then(() => true as const, () => undefined));
    },
    public: (tls: ClientTls) => allClientsOf(open(addresses.public, tls)),
    as: async (name: string, groups?: string[]) => allClientsOf(open(addresses.public, await certificate(name, groups))),
    bind: (name: string, role: string, namespaces: string[] = [], subjects: { kind: SubjectKind; name: string }[] = [user(name)]) =>
      admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding(`${name}-${role}-${namespaces.join("-")}`.replace(/-+$/, ""), { role, subjects, namespaces }) }),
    agentClient: (tls: ClientTls) => agentClientOf(open(addresses.agents, tls)),
    /** A host that has joined: its files, and its agent's session. */
    async host(name: string) {
      const files = await enrol(join(directory, `host-${name}`), { server: addresses.enrolment, token: await token(name) });
      const client = agentClientOf(open(addresses.agents, files.agent));
      const agent = new Agent(client, { nodeUid: crypto.randomUUID() });
      const welcome = await agent.hear("welcome");
      await agent.hear("synced");
      return { name, files, client, agent, welcome };
    },
    /** The command, as the local administrator unless it is told otherwise. */
    drover: (args: string[], { input = "", env = { DROVER_SERVER: `unix://${unix}` } }: { input?: string; env?: Record<string, string> } = {}) =>
      new Promise<{ code: number; out: string; errors: string }>((resolve) => {
        const options = { env: { PATH: process.env["PATH"], HOME: directory, ...env }, timeout: 30_000, maxBuffer: 64 << 20 };
        const child = execFile(join(REPOSITORY, "bin/drover"), args, options, (error, out, errors) => resolve({ code: error ? Number(error.code) : 0, out, errors }));
        child.stdin?.end(input);
      }),
    /** Every byte that the store has on the disk, and nothing else of the server's. */
    storedBytes: () => Buffer.concat(readdirSync(join(directory, "store"), { withFileTypes: true }).filter((entry) => entry.isFile()).map(({ name }) => readFileSync(join(directory, "store", name)))),
    /** What an administrator reads of everything, with every version. */
    records: () => recordsOf(admin),
    async [Symbol.asyncDispose]() {
      for (const connection of connections) connection[Symbol.dispose]();
      // Nothing of it is wanted any more: a drain would only take time.
      program.kill();
      await program.exited;
      rmSync(directory, { recursive: true });
    },
  };
}
export type Installed = Awaited<ReturnType<typeof startInstalled>>;
export type Host = Awaited<ReturnType<Installed["host"]>>;

/** Lists carry the revision, which every commit moves. */
const recordsOf = ({ machines, instances, migrations, nodes, volumes, spaces, events }: Clients): Promise<unknown> =>
  Promise.all([
    machines.listVirtualMachines(EVERYTHING), instances.listVirtualMachineInstances(EVERYTHING), migrations.listVirtualMachineInstanceMigrations(EVERYTHING),
    nodes.listNodes(EVERYTHING), volumes.listVolumes(EVERYTHING), spaces.listNamespaces(EVERYTHING), events.listEvents(EVERYTHING),
  ]);

/** A machine with a run that is bound to the node, as the controller would leave it. */
export async function boundTo({ admin }: Installed, node: string, { name = "web", namespace = "default", spec = SPEC as Spec } = {}) {
  const { virtualMachine } = await admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: machineOf(name, { namespace, spec }) });
  await admin.machines.startVirtualMachine({ ...ONCE, namespace, name });
  const { virtualMachineInstance } = await admin.instances.createVirtualMachineInstance({
    ...ONCE,
    virtualMachineInstance: VirtualMachineInstance.create({
      metadata: { name, namespace, ownerReferences: [{ kind: "VirtualMachine", name, uid: virtualMachine!.metadata!.uid }] },
      spec,
      status: { phase: Phase.SCHEDULED, nodeName: node, epoch: 1, lastGrantedEpoch: 1, powerGeneration: 2 },
    }),
  });
  return virtualMachineInstance!;
}

/** The same machine, running there. */
export async function runningOn(server: Installed, { name: node, client, agent }: Host, machine?: Parameters<typeof boundTo>[2]) {
  const instance = await boundTo(server, node, machine);
  const { uid, name, namespace } = instance.metadata!;
  const { instance: claimed } = await client.claim({ namespace, name, vmiUid: uid, epoch: 1, boot: BOOT, agentInstance: agent.instance });
  await client.report(reportOf(agent, instance, { $case: "owner", value: OwnerReport.create({ generation: 1, state: DomainState.RUNNING }) }));
  return { instance, claimed: claimed! };
}

export function reportOf(agent: Agent, { metadata }: VirtualMachineInstance, part: ReportRequest["part"], seq = 1): ReportRequest {
  const { uid, name, namespace } = metadata!;
  return { agentInstance: agent.instance, seq, namespace, name, vmiUid: uid, epoch: 1, part };
}

export function nodeReportOf(agent: Agent, report: Partial<NodeReport>, seq = 100): ReportRequest {
  const value = NodeReport.create({ generation: seq, memoryBytes: 8 * 1024 ** 3, cpus: 8, hypervisorConnected: true, ...report });
  return { agentInstance: agent.instance, seq, namespace: "", name: "", vmiUid: "", epoch: 0, part: { $case: "node", value } };
}

export const nodeOf = async ({ admin }: Installed, name: string): Promise<Node> => (await admin.nodes.getNode({ name })).node!;

/** A machine whose cloud-init has a secret. */
export const withUserData = (value: string): Spec => ({
  domain: { ...SPEC.domain, devices: { disks: [{ name: "seed", device: { $case: "cdrom" as const, value: {} } }] } },
  volumes: [{ name: "seed", source: { $case: "cloudInitNoCloud" as const, value: { userData: { value } } } }],
});
