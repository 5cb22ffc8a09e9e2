/** What administrators and agents do to a node's record: cordon, fence, session, report. Its identity is in `identity.ts`. Pure. */
import { NodeReport, NodeSessionState, NodeSpec, NodeStatus } from "../../gen/drover/v1/node.ts";
import type { Node, NodeFence, NodeSession } from "../../gen/drover/v1/node.ts";
import { InvalidArgument } from "../../lib/errors.ts";
import { formatBytes, quantityBytes } from "../../lib/quantity.ts";
import { NODE, refuse } from "./refusal.ts";
import { boundedNodeReport } from "./untrusted.ts";

/** Takes no new machines; repeating it changes nothing. Taking them again may end a drain, and is in `drain.ts`. */
export function cordoned(node: Node): Node | undefined {
  const spec = node.spec ?? NodeSpec.create();
  return spec.unschedulable ? undefined : { ...node, spec: { ...spec, unschedulable: true } };
}

export type Fencing = {
  typedName: string;
  reason: string;
  subject: string;
  id: string;
  now: Date;
  /** A session lives in memory, whatever the record says. */
  connected: boolean;
};

/** A fence that stands is not confirmed again: the second answer is the node as it is. */
export function confirmFenced(node: Node, { typedName, reason, subject, id, now, connected }: Fencing): Node | undefined {
  const name = node.metadata!.name;
  if (typedName !== name) {
    throw new InvalidArgument([{ path: "typed_name", message: `must be the node's name, "${name}", once more` }]);
  }
  const status = statusOf(node);
  if (connected || status.session?.state === NodeSessionState.CONNECTED) {
    refuse("NODE_CONNECTED", { plural: NODE, object: node }, `Cannot fence "${name}": its agent is connected, so its machines may run`);
  }
  if (status.fence) return undefined;
  const fence: NodeFence = { id, reason, subject, time: now, boot: status.session?.boot };
  return { ...node, status: { ...status, fence } };
}

/** The agent is back: its word counts again, and a fence of before is over. */
export function connected(node: Node, session: NodeSession): Node {
  return { ...node, status: { ...statusOf(node), session, fence: undefined } };
}

/** Undefined when the session in the record is another one or is silent already. */
export function silent(node: Node, { sessionId, now, message }: { sessionId: string; now: Date; message: string }): Node | undefined {
  const status = statusOf(node);
  const session = status.session;
  if (session?.state !== NodeSessionState.CONNECTED || session.sessionId !== sessionId) return undefined;
  return { ...node, status: { ...status, session: { ...session, state: NodeSessionState.SILENT, since: now, message } } };
}

/** Undefined when the node says what it said before. */
export function mergeNodeReport(node: Node, report: NodeReport): Node | undefined {
  const status = statusOf(node);
  const bounded = boundedNodeReport(report);
  return status.report && sameReport(status.report, bounded) ? undefined : { ...node, status: { ...status, report: bounded } };
}

/** Which of the administrator's caps the report is beyond; undefined when it is within all of them. */
export function beyondCaps({ spec, status }: Node): string | undefined {
  const { maxCpus = 0, maxMemory = "" } = spec ?? {};
  const { cpus = 0, memoryBytes = 0 } = status?.report ?? {};
  const beyond = [
    maxCpus > 0 && cpus > maxCpus && `${cpus} processors where ${maxCpus} are granted`,
    maxMemory !== "" && memoryBytes > quantityBytes(maxMemory) && `${formatBytes(memoryBytes)} of memory where ${maxMemory} are granted`,
  ].filter((each) => each !== false);
  return beyond.length === 0 ? undefined : `The agent reports ${beyond.join(" and ")}: no more than that is used`;
}

function sameReport(a: NodeReport, b: NodeReport): boolean {
  const bytes = (report: NodeReport) => Buffer.from(NodeReport.encode({ ...report, generation: 0 }).finish());
  return bytes(a).equals(bytes(b));
}

const statusOf = (node: Node): NodeStatus => node.status ?? NodeStatus.create();
