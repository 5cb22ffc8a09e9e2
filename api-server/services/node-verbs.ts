/** What administrators do to a node: cordon, drain, uncordon, confirm that it is fenced, let a host become it, and put it out. */
import { Node } from "../../gen/drover/v1/node.ts";
import type { CreateNodeTokenRequest, CreateNodeTokenResponse, NodeServiceImplementation } from "../../gen/drover/v1/node.ts";
import type { Clock } from "../../lib/clock.ts";
import { AlreadyExists, FailedPrecondition } from "../../lib/errors.ts";
import { formatJoinToken, newSecret, secretDigest } from "../../lib/pki/join-token.ts";
import type { Random } from "../../lib/random.ts";
import { nodes } from "../kinds/node.ts";
import type { Call, Objects, WithCall } from "../objects.ts";
import type { NodeIdentities } from "../sessions/node-identities.ts";
import type { NodeSessions } from "../sessions/node-sessions.ts";
import { revoked, withToken } from "../subresources/identity.ts";
import { uncordoned } from "../subresources/drain.ts";
import { confirmFenced, cordoned } from "../subresources/node.ts";
import { drainVerbs } from "./drain.ts";
import type { DrainParts } from "./drain.ts";

type Verbs = Pick<NodeServiceImplementation<WithCall>, "cordonNode" | "uncordonNode" | "planDrain" | "drainNode" | "confirmFenced" | "createNodeToken" | "revokeNode">;
export type NodeVerbsParts = DrainParts & {
  objects: Objects;
  sessions: NodeSessions;
  identities: NodeIdentities;
  clock: Clock;
  random: Random;
  /** Absent where the server has no authority. */
  issuer?: { pin: string } | undefined;
};

const TTL_SECONDS = 600;

export function nodeVerbs(parts: NodeVerbsParts): Verbs {
  const { objects, sessions, identities, clock, random } = parts;
  return {
    async cordonNode({ name }, { call }) {
      return { node: await objects.change(nodes, { name }, cordoned, call) };
    },
    async uncordonNode({ name }, { call }) {
      return { node: await objects.change(nodes, { name }, uncordoned, call) };
    },
    ...drainVerbs(parts),
    async confirmFenced({ name, typedName, reason }, { call }) {
      const { subject } = call.caller;
      const fencing = () => ({ typedName, reason, subject, id: random.uuid(), now: clock.now(), connected: sessions.connected(name) });
      return { node: await objects.change(nodes, { name }, (node) => confirmFenced(node, fencing()), call) };
    },
    createNodeToken: (request, { call }) => createToken(parts, request, call),
    async revokeNode({ name }, { call }) {
      const node = await objects.change(nodes, { name }, revoked, call);
      if (!call.validateOnly) identities.learn(node);
      return { node };
    },
  };
}

async function createToken(parts: NodeVerbsParts, { name, ttlSeconds }: CreateNodeTokenRequest, call: Call): Promise<CreateNodeTokenResponse> {
  const { objects, clock, random, issuer } = parts;
  if (!issuer) throw noAuthority();
  if (await objects.replayed(nodes, call)) throw shownOnce();
  const secret = newSecret(random);
  const expires = new Date(clock.now().getTime() + (ttlSeconds || TTL_SECONDS) * 1_000);
  await ensureNode(parts, name, call);
  if (call.validateOnly) return { token: "", expireTime: expires };
  const digest = secretDigest(secret);
  await objects.change(nodes, { name }, (node) => withToken(node, { digest, expires }), call);
  // A repeat that overtook its first sending was answered with the record of that.
  const stored = await objects.revealed.get(nodes, { name });
  if (stored.status?.identity?.token?.digest?.value !== digest) throw shownOnce();
  return { token: formatJoinToken({ secret, pin: issuer.pin, node: name }), expireTime: expires };
}

const noAuthority = () =>
  new FailedPrecondition([{ type: "NO_AUTHORITY", subject: "server", message: "The server has no certificate authority, so that no host can join: configure pki" }]);

const shownOnce = () =>
  new AlreadyExists("The token of this request is made and not kept: ask for another one under another request id", { reason: "TOKEN_SHOWN_ONCE" });

/** The request id is the token's: the record before it is only made where there is none. */
async function ensureNode({ objects }: NodeVerbsParts, name: string, call: Call): Promise<void> {
  if (await objects.find(nodes, { name })) return;
  try {
    await objects.create(nodes, Node.create({ metadata: { name } }), { ...call, requestId: "", repeatable: false });
  } catch (error) {
    if (!(error instanceof AlreadyExists)) throw error;
  }
}
