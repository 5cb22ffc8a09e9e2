/** The server with everything that an agent meets, and agents as the server meets them: generated clients over real TLS. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClientError, Status } from "nice-grpc";
import { NodeAgentServiceDefinition, SessionRequest } from "../../../../gen/drover/agent/v1/agent.ts";
import type { DomainDescription, SessionResponse } from "../../../../gen/drover/agent/v1/agent.ts";
import { EventServiceDefinition } from "../../../../gen/drover/v1/event.ts";
import { MigrationServiceDefinition } from "../../../../gen/drover/v1/migration.ts";
import { Namespace } from "../../../../gen/drover/v1/namespace.ts";
import { NodeReport, NodeServiceDefinition } from "../../../../gen/drover/v1/node.ts";
import { RunStrategy, VirtualMachine, VirtualMachineServiceDefinition } from "../../../../gen/drover/v1/virtual_machine.ts";
import { OwnerReport, Phase, VirtualMachineInstance, VirtualMachineInstanceServiceDefinition } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { Channel } from "../../../../lib/channel.ts";
import { connect } from "../../../../lib/client.ts";
import { Unavailable } from "../../../../lib/errors.ts";
import { silentLog } from "../../../../lib/log.ts";
import { systemRandom } from "../../../../lib/random.ts";
import { namespaces, virtualMachineInstances } from "../../../../api-server/kinds/table.ts";
import { StoreObjects } from "../../../../api-server/records/objects.ts";
import { listen, localCaller, nodeCaller } from "../../../../api-server/server.ts";
import { agentServices, publicServices } from "../../../../api-server/services/table.ts";
import { Assignments } from "../../../../api-server/sessions/assignments.ts";
import { NodeSessions } from "../../../../api-server/sessions/node-sessions.ts";
import { Tombstones } from "../../../../api-server/sessions/tombstones.ts";
import { Tunnels } from "../../../../api-server/sessions/tunnels.ts";
import { MemoryStore } from "../../../../api-server/store/memory.ts";
import { fieldRules } from "../../../../api-server/validate/field-rules.ts";
import { loadSchema } from "../../../../api-server/schema.ts";
import { Authority } from "../../../lab/pki.ts";
import { BOOT } from "../subresources/records.ts";
import { ManualClock } from "./manual-clock.ts";

export const LEASE_MS = 15_000;
export const random = systemRandom;
const schema = loadSchema();
const rules = fieldRules(schema);
const log = silentLog;

/** The real server on a real TLS listener and a unix socket, over a memory store and time that the test moves. */
export async function serve(store = new MemoryStore({ identity: { storeId: "store-1", incarnation: "one" } })) {
  const clock = new ManualClock();
  const stop = new AbortController();
  const stopping = stop.signal;
  const directory = mkdtempSync(join(tmpdir(), "drover-sessions-"));
  const authority = await Authority.create("test");
  const write = (name: string, text: string) => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };
  const ca = write("ca.pem", authority.certificatePem);
  const files = async (name: string, uris: string[]) => {
    const { cert, key } = await authority.issue({ commonName: name, addresses: ["127.0.0.1"], uris });
    return { ca, cert: write(`${name}.pem`, cert), key: write(`${name}.key`, key), pem: { cert: Buffer.from(cert), key: Buffer.from(key) } };
  };
  const objects = new StoreObjects({ store, schema, rules, clock, random, stopping });
  const sessions = new NodeSessions({ objects, clock, random, log, leaseMs: LEASE_MS, signal: stopping });
  const watch = (signal: AbortSignal) => objects.revealed.watch(virtualMachineInstances, { signal });
  const assignments = new Assignments({ watch, clock, random, log });
  const tunnels = new Tunnels({ clock, random });
  const tombstones = new Tombstones(store);
  const parts = { objects, store, schema, clock, random, log, stopping, sessions, assignments, tunnels, tombstones };
  const call = { caller: { subject: "test", role: "admin" as const }, requestId: "", repeatable: false, rpc: "", bodyHash: "", validateOnly: false, signal: stopping };
  if (!(await objects.find(namespaces, { name: "default" }))) await objects.create(namespaces, Namespace.create({ metadata: { name: "default" } }), call);
  await sessions.start();
  void assignments.run(stopping);
  const server = (await files("server", [])).pem;
  const serving = { schema, rules, clock, random, log };
  const common = { messageBytesMax: 4 << 20, described: false };
  const socket = join(directory, "api.sock");
  const local = await listen({ ...common, address: `unix:${socket}`, services: publicServices(parts), callerOf: localCaller }, serving);
  const tls = { ca: Buffer.from(authority.certificatePem), ...server };
  const agents = await listen({ ...common, address: "127.0.0.1:0", services: agentServices(parts), callerOf: nodeCaller, tls }, serving);
  const admin = connect({ server: `unix://${socket}` });
  const connections: Disposable[] = [admin];
  return {
    clock, store, objects, sessions, tombstones,
    vms: admin.client(VirtualMachineServiceDefinition),
    vmis: admin.client(VirtualMachineInstanceServiceDefinition),
    nodes: admin.client(NodeServiceDefinition),
    migrations: admin.client(MigrationServiceDefinition),
    events: admin.client(EventServiceDefinition),
    /** A client with a certificate for the node. */
    async node(name: string, uris = [`spiffe://test/node/${name}`]) {
      const connection = connect({ server: `127.0.0.1:${agents.port}`, tls: await files(name, uris) });
      connections.push(connection);
      return connection.client(NodeAgentServiceDefinition);
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      sessions.closeAll(new Unavailable("stopping", { reason: "STOPPING" }));
      for (const connection of connections) connection[Symbol.dispose]();
      await Promise.all([local.close(100), agents.close(100)]);
      rmSync(directory, { recursive: true });
    },
  };
}
type Server = Awaited<ReturnType<typeof serve>>;
type Client = Awaited<ReturnType<Server["node"]>>;
type Heard = NonNullable<SessionResponse["message"]>;

/** An agent as the server sees one. */
export class Agent {
  readonly instance: string;
  readonly #requests = new Channel<SessionRequest>(10);
  readonly #heard: AsyncIterator<SessionResponse>;
  readonly #abort = new AbortController();
  constructor(client: Client, { instance = random.uuid(), nodeUid = "0b5e6d1e-0000-4000-8000-000000000001" } = {}) {
    this.instance = instance;
    const value = { protocolMin: 1, protocolMax: 1, features: [], nodeUid, boot: BOOT, agentInstance: instance, agentVersion: "1", lastAcknowledgedSeq: 0 };
    this.#requests.offer(SessionRequest.create({ message: { $case: "hello", value } }));
    this.#heard = client.session(this.#requests, { signal: this.#abort.signal })[Symbol.asyncIterator]();
  }
  async next(): Promise<Heard> {
    const { done, value } = await this.#heard.next();
    if (done) throw new Error("The session ended");
    return value.message!;
  }
  /** The next message, which must be of this case. */
  async hear<C extends Heard["$case"]>($case: C): Promise<Extract<Heard, { $case: C }>["value"]> {
    const message = await this.next();
    assert.equal(message.$case, $case);
    return message.value as never;
  }
  answer(commandId: string, domain: DomainDescription, error = ""): void {
    this.#requests.offer(SessionRequest.create({ message: { $case: "commandResult", value: { commandId, error, domain } } }));
  }
  leave(): void {
    this.#abort.abort();
  }
}

export async function refused(promise: Promise<unknown>, code: Status, words?: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof ClientError, String(error));
    assert.equal(Status[error.code], Status[code], error.message);
    if (words) assert.match(error.message, words);
    return true;
  });
}

export async function eventually<T>(look: () => Promise<T | undefined | false>): Promise<T> {
  for (let i = 0; i < 200; i += 1) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("It did not come to be");
}

const spec = { domain: { memory: { guest: "128Mi" } } };

/** A machine with a run that is bound to the node at epoch 1, as the controller would leave it. */
export async function bound({ vms, vmis }: Server, nodeName: string) {
  const { virtualMachine: vm } = await vms.createVirtualMachine({
    virtualMachine: VirtualMachine.create({ metadata: { name: "web" }, spec: { runStrategy: RunStrategy.MANUAL, template: { spec } } }),
    requestId: "", validateOnly: false,
  });
  await vms.startVirtualMachine({ namespace: "", name: "web", requestId: "start-1", validateOnly: false });
  const { virtualMachineInstance } = await vmis.createVirtualMachineInstance({
    virtualMachineInstance: VirtualMachineInstance.create({
      metadata: { name: "web", ownerReferences: [{ kind: "VirtualMachine", name: "web", uid: vm!.metadata!.uid }] },
      spec: { ...vm!.spec!.template!.spec! },
      status: { phase: Phase.SCHEDULED, nodeName, epoch: 1, lastGrantedEpoch: 1, powerGeneration: 2 },
    }),
    requestId: "", validateOnly: false,
  });
  return virtualMachineInstance!;
}
export const named = { namespace: "default", name: "web" };
export const report = (agent: Agent, vmi: VirtualMachineInstance, seq: number, value: Partial<OwnerReport>) => ({
  agentInstance: agent.instance, seq, ...named, vmiUid: vmi.metadata!.uid, epoch: 1,
  part: { $case: "owner" as const, value: OwnerReport.create({ generation: seq, ...value }) },
});
export const nodeReport = (agent: Agent, value: Partial<NodeReport>) => ({
  agentInstance: agent.instance, seq: 100, namespace: "", name: "", vmiUid: "", epoch: 0,
  part: { $case: "node" as const, value: NodeReport.create({ generation: 1, memoryBytes: 8 * 1024 ** 3, ...value }) },
});

export async function joined(server: Server, name: string) {
  const client = await server.node(name);
  const agent = new Agent(client);
  const welcome = await agent.hear("welcome");
  return { client, agent, welcome };
}
