/**
 * Who is connected: at most one session for each node, its lease, and the transitions of both in the node's record. A
 * broken stream makes nobody silent, a lease that ran out does.
 */
import type { Command, CommandResult, Hello } from "../../gen/drover/agent/v1/agent.ts";
import { NodeSession as NodeSessionRecord, NodeSessionState } from "../../gen/drover/v1/node.ts";
import type { Node } from "../../gen/drover/v1/node.ts";
import { backoffMs, RETRY } from "../../lib/backoff.ts";
import { delay } from "../../lib/clock.ts";
import type { Clock } from "../../lib/clock.ts";
import { Aborted, AlreadyExists, FailedPrecondition, NotFound, Unavailable } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import type { Random } from "../../lib/random.ts";
import { nodes } from "../kinds/node.ts";
import { everyOf } from "../objects.ts";
import type { Call, Objects } from "../objects.ts";
import { stands } from "../subresources/identity.ts";
import { connected, silent } from "../subresources/node.ts";
import { Leases } from "./leases.ts";
import { notStanding } from "./node-identities.ts";
import { notYours } from "./roles.ts";
import { NodeSession } from "./session.ts";

export const PROTOCOL = 1;

export type NodeSessionsParts = {
  objects: Objects;
  clock: Clock;
  random: Random;
  log: Logger;
  leaseMs: number;
  /** Ends background work. */
  signal: AbortSignal;
};

/** Who an agent is by its certificate, and the name of that node. */
export type AgentIdentity = { name: string; uid: string; incarnation: number };

const SESSION_RPC = "/drover.agent.v1.NodeAgentService/Session";

export class NodeSessions {
  readonly leases: Leases;
  readonly #parts: NodeSessionsParts;
  readonly #live = new Map<string, NodeSession>();

  constructor(parts: NodeSessionsParts) {
    this.#parts = parts;
    const expired = (node: string, sessionId: string) => void this.#fallSilent(node, sessionId);
    this.leases = new Leases({ clock: parts.clock, leaseMs: parts.leaseMs, expired });
  }

  /** Nodes that were connected to the server before this one get one lease to come back: nothing is silent before. */
  async start(): Promise<void> {
    const { objects } = this.#parts;
    for await (const { metadata, status } of everyOf(objects, nodes)) {
      const session = status?.session;
      if (session?.state === NodeSessionState.CONNECTED && !this.#live.has(metadata!.name)) this.leases.grant(metadata!.name, session.sessionId);
    }
  }

  /** Throws what the agent is to be told: another one has the identity, the host is another one, no common protocol. */
  async open(agent: AgentIdentity, hello: Hello): Promise<NodeSession> {
    const { name, uid, incarnation } = agent;
    if (hello.protocolMin > PROTOCOL || hello.protocolMax < PROTOCOL) {
      throw refused("PROTOCOL_UNSUPPORTED", name, `This server speaks protocol ${PROTOCOL}, the agent ${hello.protocolMin} to ${hello.protocolMax}`);
    }
    requireSameHost(requireStanding(await this.#parts.objects.find(nodes, { name }), agent), hello);
    const before = this.#requireFree(agent, hello);
    // Its first part says whose it is, so that another node's is told from an old one of its own.
    const session = new NodeSession({ id: `${uid}/${this.#parts.random.uuid()}`, node: name, incarnation, hello });
    // Taken before the commit, so that of two that come at once one is refused.
    this.#live.set(name, session);
    this.leases.grant(name, session.id);
    before?.close(new Aborted("The agent has begun another session", { reason: "SESSION_SUPERSEDED" }));
    try {
      await this.#writeConnected(session, agent);
    } catch (error) {
      this.leases.revoke(name, session.id);
      this.close(session);
      throw error;
    }
    return session;
  }

  /** The session's stream is over; its lease goes on, as the agent may be back before it ends. */
  close(session: NodeSession, error?: Error): void {
    if (this.#live.get(session.node) === session) this.#live.delete(session.node);
    session.close(error);
  }

  /** Ends what an identity before this incarnation has open; without one, whatever the node has. */
  endIdentity(name: string, incarnation: number | undefined): void {
    const session = this.#live.get(name);
    if (session && session.incarnation !== incarnation) this.close(session, notStanding());
  }

  renew({ name, uid }: AgentIdentity, sessionId: string): number {
    if (!sessionId.startsWith(`${uid}/`)) throw notYours();
    if (this.#live.get(name)?.id !== sessionId || !this.leases.renew(name, sessionId)) throw notPresent();
    return this.leases.leaseMs;
  }

  /** The session of this very agent process. Its calls count only while it has one. */
  present(name: string, agentInstance: string): NodeSession {
    const session = this.#live.get(name);
    if (!session || session.hello.agentInstance !== agentInstance) throw notPresent();
    return session;
  }

  /** Whether an agent is connected, as memory knows it. */
  connected(name: string): boolean {
    return this.#live.has(name);
  }

  /** Its answer; rejects with Unavailable when it is not connected, or says nothing in that time. */
  async ask(name: string, action: NonNullable<Command["action"]>, timeoutMs: number): Promise<CommandResult> {
    const { clock, random } = this.#parts;
    return this.reach(name).command(random.uuid(), action, { clock, timeoutMs });
  }

  /** The node's session. */
  reach(name: string): NodeSession {
    const session = this.#live.get(name);
    if (!session) throw new Unavailable(`The agent of "${name}" is not connected`, { reason: "NODE_NOT_CONNECTED", metadata: { node: name } });
    return session;
  }

  closeAll(error: Error): void {
    this.leases.close();
    for (const session of this.#live.values()) this.close(session, error);
  }

  #requireFree({ name, incarnation }: AgentIdentity, hello: Hello): NodeSession | undefined {
    const before = this.#live.get(name);
    if (!before || before.closed || before.incarnation !== incarnation || !this.leases.holds(name, before.id)) return before;
    // The same process again: the network cut its stream before this server noticed.
    if (before.hello.agentInstance === hello.agentInstance) return before;
    throw new AlreadyExists(`Another agent holds the identity of "${name}"`, { reason: "NODE_IDENTITY_IN_USE", metadata: { node: name } });
  }

  async #writeConnected({ id, node: name, hello }: NodeSession, agent: AgentIdentity): Promise<void> {
    const { nodeUid, boot, agentInstance, agentVersion } = hello;
    const since = this.#parts.clock.now();
    const state = NodeSessionState.CONNECTED;
    const record = NodeSessionRecord.create({ state, sessionId: id, nodeUid, boot, agentInstance, agentVersion, since });
    await this.#parts.objects.change(nodes, { name }, (node) => connected(requireSameHost(requireStanding(node, agent), hello), record), this.#call());
  }

  /** Written until it is, or until the node has another lease. */
  async #fallSilent(name: string, sessionId: string): Promise<void> {
    const { objects, clock, random, log, leaseMs, signal } = this.#parts;
    const session = this.#live.get(name);
    if (session?.id === sessionId) this.close(session, new Aborted("The lease ran out", { reason: "LEASE_EXPIRED" }));
    const message = `No renewal came for ${leaseMs} ms`;
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      try {
        await objects.change(nodes, { name }, (node) => silent(node, { sessionId, now: clock.now(), message }), this.#call());
        return;
      } catch (error) {
        if (error instanceof NotFound) return;
        log.warn({ error, node: name }, "cannot record that a node is silent");
      }
      await delay(clock, backoffMs(RETRY, attempt, random.fraction()), signal).catch(() => undefined);
    }
  }

  #call(): Call {
    const { signal } = this.#parts;
    const caller = { subject: "api-server", role: "control-plane" } as const;
    return { caller, requestId: "", repeatable: false, rpc: SESSION_RPC, bodyHash: "", validateOnly: false, signal };
  }
}

/** The store's word, since what the memory knows may be a moment old. */
function requireStanding(node: Node | undefined, agent: AgentIdentity): Node {
  if (node === undefined || !stands(node, agent)) throw notStanding();
  return node;
}

function requireSameHost(node: Node, { nodeUid }: Hello): Node {
  const known = node.status?.session?.nodeUid;
  if (known === undefined || known === "" || known === nodeUid) return node;
  const name = node.metadata!.name;
  throw refused("NODE_UID_MISMATCH", name, `"${name}" is the host ${known}, not ${nodeUid}: delete the node to let another host take its name`);
}

const refused = (type: string, node: string, message: string) => new FailedPrecondition([{ type, subject: `nodes/${node}`, message }]);

const notPresent = () => new Aborted("The session is not the present one", { reason: "SESSION_NOT_PRESENT" });
