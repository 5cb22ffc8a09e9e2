/** One node: what people read of it, and when a fence has done its work. Pure. */
import { EventType } from "../../gen/drover/v1/event.ts";
import { ConditionStatus } from "../../gen/drover/v1/meta.ts";
import { NodeSessionState } from "../../gen/drover/v1/node.ts";
import type { NodeStatus } from "../../gen/drover/v1/node.ts";
import { NOTHING } from "../actions.ts";
import type { Action, Decision, Notice } from "../actions.ts";
import { conditionOf, fails, holds, unknown, withFacts } from "../conditions.ts";
import type { Fact } from "../conditions.ts";
import { isKnown } from "../known.ts";
import type { NodeRecord } from "../objects.ts";
import { CERTIFICATE_MS } from "../../lib/pki/lifetime.ts";
import { isFenced, isSilent } from "./liveness.ts";
import { sameMessage } from "../../lib/same.ts";

/** An agent renews at half of a certificate's life; with less than this left, it has failed to for long. */
const EXPIRING_MS = CERTIFICATE_MS / 4;

export type Observed = {
  node: NodeRecord;
  /** Instances that it owns, or that move from or to it. */
  instances: number;
  now: Date;
};

export function decide({ node, instances, now }: Observed): Decision {
  if (!isKnown(NodeSessionState, node.status.session?.state ?? 0)) return NOTHING;
  const { status } = node;
  const freed = isFenced(node) && instances === 0;
  const next: NodeStatus = {
    ...status,
    conditions: withFacts(status.conditions, [readiness(node), schedulability(node), fencing(node, instances), ...certification(node, now)], now),
    fenceDoneId: freed ? (status.fence?.id ?? "") : status.fenceDoneId,
  };
  const recheckMs = certificateChangesInMs(node, now);
  if (sameMessage(next, status)) return { ...NOTHING, recheckMs };
  const after = { ...node, status: next };
  return { actions: [{ do: "put-node", node: after }, ...notices(node, after)], recheckMs };
}

/** Nothing is said of a node that has never been enrolled. */
function certification({ status }: NodeRecord, now: Date): Fact[] {
  const { incarnation = 0, revoked = false, certificateExpireTime } = status.identity ?? {};
  if (revoked) return [fails("CertificateValid", "Revoked", "its agent may not connect until it joins again with a token")];
  if (incarnation === 0 || certificateExpireTime === undefined) return [];
  const ends = certificateExpireTime.toISOString();
  const leftMs = certificateExpireTime.getTime() - now.getTime();
  if (leftMs <= 0) return [fails("CertificateValid", "Expired", `its agent's certificate ended on ${ends}: it joins again with a token`)];
  return [leftMs < EXPIRING_MS ? fails("CertificateValid", "Expiring", `its agent has not renewed its certificate, which ends on ${ends}`) : holds("CertificateValid", "Valid")];
}

/** When the certificate's condition changes by time alone. */
function certificateChangesInMs({ status }: NodeRecord, now: Date): number | undefined {
  const ends = status.identity?.certificateExpireTime?.getTime();
  if (ends === undefined) return undefined;
  return [ends - EXPIRING_MS, ends].map((at) => at - now.getTime() + 1).find((inMs) => inMs > 0);
}

function readiness(node: NodeRecord): Fact {
  const { session, report } = node.status;
  if (isSilent(node)) return unknown("Ready", "NodeSilent", session?.message || "its agent is not connected");
  if (!report) return fails("Ready", "NoReport", "its agent has not reported yet");
  return report.hypervisorConnected ? holds("Ready", "Connected") : fails("Ready", "HypervisorUnreachable", report.hypervisorMessage);
}

function schedulability(node: NodeRecord): Fact {
  if (node.spec.unschedulable) return fails("Schedulable", "Cordoned", "it takes no new machines");
  const ready = readiness(node);
  return ready.status === ConditionStatus.TRUE ? holds("Schedulable", "Ready") : fails("Schedulable", ready.reason, ready.message);
}

function fencing(node: NodeRecord, instances: number): Fact {
  if (!isFenced(node)) return fails("FencePending", "NotFenced");
  return instances > 0 ? holds("FencePending", "Freeing", `${instances} machines are still to be freed`) : fails("FencePending", "Freed");
}

function notices(before: NodeRecord, after: NodeRecord): Action[] {
  const was = conditionOf(before.status.conditions, "Ready")?.status;
  const is = conditionOf(after.status.conditions, "Ready");
  const { NORMAL, WARNING } = EventType;
  const said: Pick<Notice, "reason" | "message" | "type">[] = [];
  if (is?.status === ConditionStatus.TRUE && was !== is.status) said.push({ reason: "NodeReady", message: "its agent is connected", type: NORMAL });
  if (is?.status === ConditionStatus.UNKNOWN && was === ConditionStatus.TRUE) said.push({ reason: "NodeSilent", message: is.message, type: WARNING });
  const valid = [before, after].map(({ status }) => conditionOf(status.conditions, "CertificateValid"));
  if (valid[1]?.status === ConditionStatus.FALSE && valid[0]?.reason !== valid[1].reason) {
    said.push({ reason: `Certificate${valid[1].reason}`, message: valid[1].message, type: WARNING });
  }
  if (after.status.fenceDoneId !== before.status.fenceDoneId) said.push({ reason: "Fenced", message: "all its machines are freed", type: WARNING });
  return said.map((one) => ({ do: "notify", notice: { kind: "Node", about: after, ...one } }));
}
