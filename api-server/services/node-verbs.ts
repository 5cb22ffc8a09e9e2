/** What administrators do to a node: cordon, uncordon, confirm that it is fenced. */
import type { NodeServiceImplementation } from "../../gen/drover/v1/node.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Random } from "../../lib/random.ts";
import { nodes } from "../kinds/node.ts";
import type { Objects, WithCall } from "../objects.ts";
import type { NodeSessions } from "../sessions/node-sessions.ts";
import { confirmFenced, setUnschedulable } from "../subresources/node.ts";

type Verbs = Pick<NodeServiceImplementation<WithCall>, "cordonNode" | "uncordonNode" | "confirmFenced">;
export type NodeVerbsParts = { objects: Objects; sessions: NodeSessions; clock: Clock; random: Random };

export function nodeVerbs({ objects, sessions, clock, random }: NodeVerbsParts): Verbs {
  return {
    async cordonNode({ name }, { call }) {
      return { node: await objects.change(nodes, { name }, (node) => setUnschedulable(node, true), call) };
    },
    async uncordonNode({ name }, { call }) {
      return { node: await objects.change(nodes, { name }, (node) => setUnschedulable(node, false), call) };
    },
    async confirmFenced({ name, typedName, reason }, { call }) {
      const { subject } = call.caller;
      const fencing = () => ({ typedName, reason, subject, id: random.uuid(), now: clock.now(), connected: sessions.connected(name) });
      return { node: await objects.change(nodes, { name }, (node) => confirmFenced(node, fencing()), call) };
    },
  };
}
