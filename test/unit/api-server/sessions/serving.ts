/** The server with everything that an agent meets, and agents as the server meets them: generated clients over real TLS. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClientError, Status } from "nice-grpc";
import { NodeAgentServiceDefinition, SessionRequest } from "../../../../gen/drover/agent/v1/agent.ts";
import type { Command, CommandResult, DomainDescription, SessionResponse } from "../../../../gen/drover/agent/v1/agent.ts";
import { EventServiceDefinition } from "../../../../gen/drover/v1/event.ts";
import { MigrationServiceDefinition } from "../../../../gen/drover/v1/migration.ts";
import { NodeReport, NodeServiceDefinition } from "../../../../gen/drover/v1/node.ts";
import { RunStrategy, VirtualMachine, VirtualMachineServiceDefinition } from "../../../../gen/drover/v1/virtual_machine.ts";
import { DomainState, OwnerReport, Phase, VirtualMachineInstance, VirtualMachineInstanceServiceDefinition } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { VolumeServiceDefinition } from "../../../../gen/drover/v1/volume.ts";
import { Channel } from "../../../../lib/channel.ts";
import { connect } from "../../../../lib/client.ts";
import type { ClientTls } from "../../../../lib/client.ts";
import { systemClock } from "../../../../lib/clock.ts";
import { silentLog } from "../../../../lib/log.ts";
import { systemRandom } from "../../../../lib/random.ts";
import { assemble } from "../../../../api-server/assemble.ts";
import type { Authority } from "../../../../api-server/authority/authority.ts";
import { listenersOf } from "../../../../api-server/listeners.ts";
import { listenAll } from "../../../../api-server/server.ts";
import type { ListenerName } from "../../../../api-server/server.ts";
import { MemoryStore } from "../../../../api-server/store/memory.ts";
import { openAuthority, openTrust } from "../../../../api-server/trust.ts";
import { enrol } from "../../../contract/enrol.ts";
import { BOOT } from "../subresources/records.ts";
import { ManualClock } from "./manual-clock.ts";

export const LEASE_MS = 15_000;
export const random = systemRandom;
const log = silentLog;

/** The real server on its real listeners, over a memory store and time that the test moves; certificates live in the time of TLS. */
export async function serve(store = new MemoryStore({ identity: { storeId: "store-1", incarnation: "one" } }), brought: { authority?: Authority } = {}) {
  const clock = new ManualClock();
  const directory = mkdtempSync(join(tmpdir(), "drover-sessions-"));
  const unix = join(directory, "api.sock");
  const local = "127.0.0.1:0";
  const listen = { unix, public: local, agents: local, enrolment: local };
  const config = { listen, auth: { oidc: [] }, pki: { directory: join(directory, "pki"), trustDomain: "test", names: [] } };
  const inRealTime = { config, clock: systemClock, random, log };
  const authority = brought.authority ?? (await openAuthority(inRealTime))!;
  const assembly = await assemble({ store, clock, random, log, leaseMs: LEASE_MS, authority });
  const { parts, server } = assembly;
  const { trust } = await openTrust(authority, inRealTime, { parts, signal: parts.stopping });
  const listening = await listenAll(listenersOf(config, parts, trust), server);
  const portOf = (name: ListenerName) => `127.0.0.1:${listening.find((each) => each.name === name)!.port}`;
  const admin = connect({ server: `unix://${unix}` });
  const connections: Disposable[] = [admin];
  const nodes = admin.client(NodeServiceDefinition);
  const open = (address: string, tls: ClientTls) => {
    const connection = connect({ server: address, tls });
    connections.push(connection);
    return connection;
  };
  let joins = 0;
  return {
    clock, store, authority, trust, directory, nodes, portOf, open,
    objects: parts.objects,
    sessions: parts.sessions,
    tombstones: parts.tombstones,
    vms: admin.client(VirtualMachineServiceDefinition),
    vmis: admin.client(VirtualMachineInstanceServiceDefinition),
    migrations: admin.client(MigrationServiceDefinition),
    events: admin.client(EventServiceDefinition),
    volumes: admin.client(VolumeServiceDefinition),
    token: async (name: string, ttlSeconds = 0) => (await nodes.createNodeToken({ name, ttlSeconds, requestId: "", validateOnly: false })).token,
    /** A host that joins by a token, with its files. */
    join: (token: string) => enrol(join(directory, `host-${(joins += 1)}`), { server: portOf("enrolment"), token }),
    /** The agents' service by these files. */
    agent: (tls: ClientTls) => open(portOf("agents"), tls).client(NodeAgentServiceDefinition),
    /** A client with a certificate for the node, which it has just become. */
    async node(name: string) {
      return this.agent((await this.join(await this.token(name))).agent);
    },
    async [Symbol.asyncDispose]() {
      for (const connection of connections) connection[Symbol.dispose]();
      await Promise.all([assembly.stop(), ...listening.map((each) => each.close(100))]);
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
    this.result({ commandId, domain, error });
  }
  result(result: Partial<CommandResult>): void {
    this.#requests.offer(SessionRequest.create({ message: { $case: "commandResult", value: result } }));
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
  part: { $case: "node" as const, value: NodeReport.create({ generation: 1, memoryBytes: 8 * 1024 ** 3, cpus: 8, ...value }) },
});

type Action = NonNullable<Command["action"]>;
export type Answers = { [C in Action["$case"]]?: (value: Extract<Action, { $case: C }>["value"]) => Partial<CommandResult> | undefined };

let hosts = 0;

/** A node whose agent answers commands so; without an answer it stays silent. */
export async function answering(server: Server, name: string, { answers, facts = {} }: { answers: Answers; facts?: Partial<NodeReport> }) {
  const client = await server.node(name);
  const agent = new Agent(client, { nodeUid: `0b5e6d1e-0000-4000-8000-00000000000${(hosts = (hosts + 1) % 10)}` });
  await agent.hear("welcome");
  await client.report(nodeReport(agent, facts));
  const asked: Action[] = [];
  const listening = (async () => {
    for (;;) {
      const message = await agent.next().catch(() => undefined);
      if (!message) return;
      if (message.$case !== "command" || !message.value.action) continue;
      const { commandId, action } = message.value;
      asked.push(action);
      const result = answers[action.$case]?.(action.value as never);
      if (result) agent.result({ commandId, ...result });
    }
  })();
  return { client, agent, asked, listening };
}

/** A machine that runs there. */
export async function runningOn(server: Server, { client, agent }: { client: Client; agent: Agent }, name: string) {
  const vmi = await bound(server, name);
  await client.claim({ ...named, vmiUid: vmi.metadata!.uid, epoch: 1, boot: BOOT, agentInstance: agent.instance });
  await client.report(report(agent, vmi, 1, { state: DomainState.RUNNING, reason: "booted" }));
  await eventually(async () => (await server.vmis.getVirtualMachineInstance(named)).virtualMachineInstance?.status?.phase === Phase.RUNNING);
  return vmi;
}

/** Lets time pass until it is settled. */
export async function passing<T>(server: Server, awaited: Promise<T>): Promise<T> {
  let settled = false;
  const noted = awaited.finally(() => (settled = true));
  await eventually(async () => {
    server.clock.pass(1_000);
    return settled;
  });
  return noted;
}

export async function joined(server: Server, name: string) {
  const client = await server.node(name);
  const agent = new Agent(client);
  const welcome = await agent.hear("welcome");
  return { client, agent, welcome };
}
