/** The node-facing service. Which node calls comes from its certificate; no field of a message is asked. */
import { SessionResponse } from "../../gen/drover/agent/v1/agent.ts";
import type {
  ClaimRequest, ClaimResponse, Hello, LookupMachineRequest, LookupMachineResponse, NodeAgentServiceImplementation, RenewCertificateRequest,
  RenewCertificateResponse, SessionRequest,
} from "../../gen/drover/agent/v1/agent.ts";
import type { Volume } from "../../gen/drover/v1/volume.ts";
import { deadline } from "../../lib/clock.ts";
import type { Clock } from "../../lib/clock.ts";
import { InvalidArgument, Unauthenticated } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import { virtualMachineInstances } from "../kinds/virtual-machine-instance.ts";
import { virtualMachines } from "../kinds/virtual-machine.ts";
import { nodes } from "../kinds/node.ts";
import { volumes } from "../kinds/volume.ts";
import type { Call, Objects, WithCall } from "../objects.ts";
import type { Assignments } from "../sessions/assignments.ts";
import { ClaimTurns } from "../sessions/claim-turns.ts";
import { PROTOCOL } from "../sessions/node-sessions.ts";
import type { AgentIdentity, NodeSessions } from "../sessions/node-sessions.ts";
import { concerns, notYours } from "../sessions/roles.ts";
import type { NodeSession } from "../sessions/session.ts";
import type { Tombstones } from "../sessions/tombstones.ts";
import type { Tunnels } from "../sessions/tunnels.ts";
import type { Store } from "../store/store.ts";
import { claim } from "../subresources/claim.ts";
import { knownOf } from "../subresources/lookup.ts";
import type { NodeCertificates } from "./node-certificates.ts";
import { acceptReport } from "./node-reports.ts";
import type { ReportParts } from "./node-reports.ts";

export type NodeAgentParts = ReportParts & {
  objects: Objects;
  store: Store;
  sessions: NodeSessions;
  assignments: Assignments;
  tunnels: Tunnels;
  tombstones: Tombstones;
  certificates: NodeCertificates;
  clock: Clock;
  log: Logger;
};

type Claims = NodeAgentParts & { turns: ClaimTurns };

const HELLO_TIMEOUT_MS = 10_000;

export function nodeAgentService(parts: NodeAgentParts): NodeAgentServiceImplementation<WithCall> {
  const { objects, assignments } = parts;
  const claims = { ...parts, turns: new ClaimTurns({ objects, assigned: (node) => assignments.concerning(node) }) };
  return {
    session: (requests, { call, signal }) => session(parts, { agent: agentOf(call), requests, signal }),
    renew: async ({ sessionId }, { call }) => ({ leaseMs: parts.sessions.renew(agentOf(call), sessionId) }),
    claim: (request, { call }) => claimInstance(claims, request, call),
    report: async (request, { call }) => ({ resourceVersion: await acceptReport(parts, request, { ...call, node: agentOf(call).name }) }),
    lookupMachine: (request, { call }) => lookupMachine(parts, request, agentOf(call).name),
    attach: (requests, { call }) => parts.tunnels.attach(agentOf(call).name, requests),
    renewCertificate: (request, { call }) => renewCertificate(parts, request, call),
  };
}

function agentOf({ caller }: Call): AgentIdentity {
  const { role, node, nodeIdentity } = caller;
  if (role !== "node" || !node || !nodeIdentity) throw new Unauthenticated("The client certificate is of no node's agent");
  return { name: node, ...nodeIdentity };
}

async function renewCertificate({ certificates }: NodeAgentParts, request: RenewCertificateRequest, call: Call): Promise<RenewCertificateResponse> {
  const keys = await certificates.keysOf(request);
  return { certificates: await certificates.renew(agentOf(call), keys, asServer(call)) };
}

type Stream = { agent: AgentIdentity; requests: AsyncIterable<SessionRequest>; signal: AbortSignal };

async function* session(parts: NodeAgentParts, { agent, requests, signal }: Stream): AsyncGenerator<SessionResponse> {
  const { sessions, assignments, log } = parts;
  const { name: node } = agent;
  const incoming = requests[Symbol.asyncIterator]();
  const opened = await sessions.open(agent, await hello(parts, incoming, signal));
  log.info({ node, session: opened.id, agent: opened.hello.agentInstance }, "the agent's session begins");
  const leave = () => opened.close();
  signal.addEventListener("abort", leave, { once: true });
  try {
    yield welcome(parts, opened);
    void listen(incoming, opened);
    assignments.subscribe(node, opened.outbox);
    for await (const message of opened.outbox) yield { message };
  } finally {
    signal.removeEventListener("abort", leave);
    assignments.unsubscribe(node, opened.outbox);
    sessions.close(opened);
    log.info({ node, session: opened.id }, "the agent's session ends");
  }
}

async function hello({ clock }: NodeAgentParts, incoming: AsyncIterator<SessionRequest>, signal: AbortSignal): Promise<Hello> {
  using limit = deadline(clock, HELLO_TIMEOUT_MS, signal);
  const late = new Promise<never>((_resolve, reject) =>
    limit.signal.addEventListener("abort", () => reject(faulty("must come within 10 seconds")), { once: true }));
  const first = await Promise.race([incoming.next(), late]);
  const message = first.done ? undefined : first.value.message;
  if (message?.$case !== "hello") throw faulty("must be the first message");
  if (!message.value.boot) throw new InvalidArgument([{ path: "hello.boot", message: "is required" }]);
  return message.value;
}

const faulty = (message: string) => new InvalidArgument([{ path: "hello", message }]);

function welcome({ store, sessions }: NodeAgentParts, { id, node }: NodeSession): SessionResponse {
  const { storeId, incarnation } = store.identity;
  const value = { storeId, incarnation, sessionId: id, protocol: PROTOCOL, leaseMs: sessions.leases.leaseMs, nodeName: node };
  return SessionResponse.create({ message: { $case: "welcome", value } });
}

/** Answers to commands. The end of the agent's side ends the session. */
async function listen(incoming: AsyncIterator<SessionRequest>, opened: NodeSession): Promise<void> {
  try {
    for (let next = await incoming.next(); !next.done; next = await incoming.next()) {
      const { message } = next.value;
      if (message?.$case === "commandResult") opened.answered(message.value);
    }
    opened.close();
  } catch {
    opened.close();
  }
}

async function claimInstance({ objects, sessions, turns }: Claims, request: ClaimRequest, call: Call): Promise<ClaimResponse> {
  const { vmiUid, epoch, boot, agentInstance } = request;
  const { name: nodeName } = agentOf(call);
  if (!boot) throw new InvalidArgument([{ path: "boot", message: "is required" }]);
  const key = { namespace: request.namespace || "default", name: request.name };
  const current = await objects.find(virtualMachineInstances, key);
  if (!current || !concerns(current, nodeName)) throw notYours();
  sessions.present(nodeName, agentInstance);
  const held = await Promise.all((current.status?.heldVolumes ?? []).map((name) => objects.find(volumes, { name })));
  const claiming = { nodeName, vmiUid, epoch, boot, agentInstance, volumes: held };
  const record = () => objects.change(virtualMachineInstances, key, (vmi) => claim(vmi, claiming), asServer(call));
  if (claim(current, claiming)) await turns.take(current, nodeName, record);
  return { instance: await objects.revealed.get(virtualMachineInstances, key) };
}

/** Repeats are told by the record itself, not by a request id, and the merge is the server's own write. */
export const asServer = (call: Call): Call => ({ ...call, requestId: "", repeatable: false, validateOnly: false });

async function lookupMachine(
  { objects, tombstones, store }: NodeAgentParts,
  request: LookupMachineRequest,
  node: string,
): Promise<LookupMachineResponse> {
  const key = { namespace: request.namespace || "default", name: request.vmName };
  const [instance, vm, tombstone, found] = await Promise.all([
    objects.find(virtualMachineInstances, key),
    objects.find(virtualMachines, key),
    tombstones.has(request.vmiUid),
    volumesOf(objects, request.volumes, node),
  ]);
  const known = vm?.metadata?.uid === request.vmUid ? (vm.status?.lastEpoch ?? 0) : 0;
  const granted = instance?.metadata?.ownerReferences.some(({ uid }) => uid === request.vmUid) ? (instance.status?.lastGrantedEpoch ?? 0) : 0;
  const visible = instance && knownOf(instance, { ...request, node });
  return { instance: visible, tombstone, lastEpoch: Math.max(known, granted), storeId: store.identity.storeId, volumes: found };
}

/** A node is told of the images of its own pools, and of no others. */
async function volumesOf(objects: Objects, asked: readonly string[], node: string): Promise<Volume[]> {
  if (asked.length === 0) return [];
  const pools = (await objects.find(nodes, { name: node }))?.status?.report?.pools.map(({ id }) => id) ?? [];
  const found = await Promise.all(asked.map((name) => objects.find(volumes, { name })));
  return found.filter((volume): volume is Volume => volume !== undefined && pools.includes(volume.spec?.poolId ?? ""));
}
