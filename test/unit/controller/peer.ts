/** A node agent without a hypervisor: its session, claims and reports over the real protocol, its guests in memory. */
import { NodeAgentServiceDefinition, Hello, ReportRequest } from "../../../gen/drover/agent/v1/agent.ts";
import type { Assignment, SessionRequest } from "../../../gen/drover/agent/v1/agent.ts";
import { AssignmentRole } from "../../../gen/drover/agent/v1/agent.ts";
import { NodeReport, NodePool, KvmState } from "../../../gen/drover/v1/node.ts";
import { DomainState, MigrationSourceReport, MigrationSourceState, MigrationTargetReport, MigrationTargetState, OwnerReport, Phase } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { Channel } from "../../../lib/channel.ts";
import { connect } from "../../../lib/client.ts";
import type { TlsFiles } from "../../../lib/client.ts";
import { every, systemClock } from "../../../lib/clock.ts";
import { systemRandom } from "../../../lib/random.ts";

/** Guests of all peers by uid of their instance, with the node that they run on. */
export type Guests = Map<string, string>;

const BOOT = { kernelBootId: "11111111-1111-4111-8111-111111111111", pid1StartTime: "1" };
const RENEW_EVERY_MS = 500;

export class Peer {
  readonly name: string;
  readonly #guests: Guests;
  readonly #instance = systemRandom.uuid();
  readonly #connection;
  readonly #client;
  readonly #stop = new AbortController();
  readonly #requests = new Channel<SessionRequest>(16);
  readonly #seen = new Map<string, Assignment>();
  readonly #said = new Set<string>();
  #seq = 0;
  #generation = 0;
  #working = Promise.resolve();

  constructor({ name, server, tls, guests }: { name: string; server: string; tls: TlsFiles; guests: Guests }) {
    this.name = name;
    this.#guests = guests;
    this.#connection = connect({ server, tls });
    this.#client = this.#connection.client(NodeAgentServiceDefinition);
  }

  /** Resolves when the node has reported itself; goes on until it is disposed of. */
  async start(): Promise<void> {
    const hello = Hello.create({ protocolMin: 1, protocolMax: 1, nodeUid: systemRandom.uuid(), boot: BOOT, agentInstance: this.#instance, agentVersion: "test" });
    await this.#requests.push({ message: { $case: "hello", value: hello } });
    const responses = this.#client.session(this.#requests, { signal: this.#stop.signal });
    const welcomed = Promise.withResolvers<string>();
    void this.#follow(responses, welcomed).catch((error: unknown) => welcomed.reject(error));
    const sessionId = await welcomed.promise;
    const run = async () => void (await this.#client.renew({ sessionId }, { signal: this.#stop.signal }));
    void every(systemClock, RENEW_EVERY_MS, { run, signal: this.#stop.signal, onError: () => undefined });
    await this.#report({ part: { $case: "node", value: nodeReport() } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error("The peer goes"));
    this.#requests.close();
    await this.#working.catch(() => undefined);
    this.#connection[Symbol.dispose]();
  }

  async #follow(responses: AsyncIterable<{ message?: unknown }>, welcomed: PromiseWithResolvers<string>): Promise<void> {
    for await (const response of responses) {
      const { message } = response as { message?: { $case: string; value: never } };
      if (message?.$case === "welcome") welcomed.resolve((message.value as { sessionId: string }).sessionId);
      if (message?.$case !== "assignment") continue;
      const assignment = message.value as Assignment;
      this.#seen.set(assignment.instance!.metadata!.uid, assignment);
      this.#working = this.#working.then(() => this.#look(assignment)).catch(() => undefined);
    }
  }

  async #look({ instance, role }: Assignment): Promise<void> {
    if (!instance?.status || !instance.metadata) return;
    if (role === AssignmentRole.OWNER) await this.#own(instance);
    if (role === AssignmentRole.INCOMING) await this.#receive(instance);
    if (role === AssignmentRole.OUTGOING) await this.#source(instance, MigrationSourceState.LEFT);
  }

  async #own(instance: VirtualMachineInstance): Promise<void> {
    const { metadata, status } = instance;
    if (!metadata || !status) return;
    const { uid } = metadata;
    if (status.migration && !status.migration.handedOff) return this.#send(instance);
    if (metadata.deletionTimestamp) {
      if (!status.claim) return;
      this.#guests.delete(uid);
      return this.#owner(instance, DomainState.GONE, "destroyed");
    }
    if (status.phase !== Phase.SCHEDULED || status.claim) return;
    const { namespace, name } = metadata;
    await this.#client.claim({ namespace, name, vmiUid: uid, epoch: status.epoch, boot: BOOT, agentInstance: this.#instance });
    this.#guests.set(uid, this.name);
    await this.#owner(instance, DomainState.RUNNING, "booted");
  }

  #owner(instance: VirtualMachineInstance, state: DomainState, reason: string): Promise<void> {
    this.#generation += 1;
    const report = OwnerReport.create({ state, reason, generation: this.#generation });
    return this.#once(`${instance.metadata!.uid}/${state}`, { ...about(instance), part: { $case: "owner", value: report } });
  }

  /** The transfer takes no time: the guest is at the target as soon as the source's word is recorded. */
  async #send(instance: VirtualMachineInstance): Promise<void> {
    const grant = instance.status!.migration!;
    if (grant.target?.state !== MigrationTargetState.READY || grant.source) return;
    await this.#source(instance, MigrationSourceState.ISSUED);
    this.#guests.set(instance.metadata!.uid, grant.targetNode);
  }

  #source(instance: VirtualMachineInstance, state: MigrationSourceState): Promise<void> {
    const grant = instance.status!.migration!;
    const report = MigrationSourceReport.create({ generation: (grant.source?.generation ?? 0) + 1, state, agentInstance: this.#instance });
    const epoch = grant.sourceEpoch;
    return this.#once(`${grant.uid}/source/${state}`, { ...about(instance), epoch, part: { $case: "migrationSource", value: { migrationUid: grant.uid, report } } });
  }

  async #receive(instance: VirtualMachineInstance): Promise<void> {
    const grant = instance.status!.migration!;
    const here = this.#guests.get(instance.metadata!.uid) === this.name;
    if (grant.target && !here && grant.source?.state === MigrationSourceState.ISSUED) await new Promise((resolve) => systemClock.after(50, () => resolve(undefined)));
    const state = this.#guests.get(instance.metadata!.uid) === this.name ? MigrationTargetState.RUNNING : MigrationTargetState.READY;
    const report = MigrationTargetReport.create({ generation: state, state, doorAddress: "10.0.0.2:49000", boot: BOOT, agentInstance: this.#instance });
    await this.#once(`${grant.uid}/target/${state}`, { ...about(instance), epoch: grant.targetEpoch, part: { $case: "migrationTarget", value: { migrationUid: grant.uid, report } } });
  }

  async #once(what: string, request: Partial<ReportRequest>): Promise<void> {
    if (this.#said.has(what)) return;
    this.#said.add(what);
    await this.#report(request);
  }

  async #report(request: Partial<ReportRequest>): Promise<void> {
    this.#seq += 1;
    await this.#client.report({ ...ReportRequest.create(), ...request, agentInstance: this.#instance, seq: this.#seq });
  }
}

function about({ metadata, status }: VirtualMachineInstance): Partial<ReportRequest> {
  return { namespace: metadata!.namespace, name: metadata!.name, vmiUid: metadata!.uid, epoch: status!.epoch };
}

const nodeReport = (): NodeReport =>
  NodeReport.create({
    generation: 1,
    cpus: 4,
    memoryBytes: 8 * 1024 ** 3,
    kvm: KvmState.VERIFIED,
    hypervisorConnected: true,
    machineTypes: ["pc-q35-7.2"],
    machineAliases: { q35: "pc-q35-7.2" },
    cpuModels: ["qemu64", "Haswell"],
    pools: [NodePool.create({ name: "shared", id: "5f0c0000-0000-4000-8000-000000000001" })],
  });
