/**
 * One node's drain: asks the lines for each machine of the plan, carries out what they say, and writes down how far it is.
 * Machines that came after the plan are taken in, but no stop is ever decided on here. Pure.
 */
import { EventType } from "../../gen/drover/v1/event.ts";
import { DrainAction, DrainItemState, DrainPhase, DrainReason } from "../../gen/drover/v1/node.ts";
import type { DrainItemProgress, DrainPlanItem, NodeDrain } from "../../gen/drover/v1/node.ts";
import { begun, isEnded, itemsOf } from "../../lib/drain/record.ts";
import { sameMessage } from "../../lib/same.ts";
import { earliest } from "../actions.ts";
import type { Action, Decision } from "../actions.ts";
import type { Instance, NodeRecord } from "../objects.ts";
import { HELD_MS, holds, retryInMs } from "./facts.ts";
import type { Evidence } from "./facts.ts";
import { next } from "./lines.ts";
import type { Step } from "./lines.ts";
import { isStoppedByDrain, mark } from "./mark.ts";
import { migrationFor } from "./migration.ts";
import { messageOf, notices, progressOf } from "./tell.ts";

/** A look now and then, for what no change announces: others leave room elsewhere. */
const RECHECK_MS = 15_000;

/** Items that stand before another one, as they are after this look. */
type Before = readonly DrainItemProgress[];

export type Observed = {
  node: NodeRecord;
  drain: NodeDrain;
  /** On the node, leaving it or on their way to it. */
  instances: readonly Instance[];
  evidence: (item: DrainItemProgress, before: Before) => Evidence;
  /** What is planned for it now, without a stop. */
  plan: (instance: Instance, before: Before) => DrainPlanItem;
  now: Date;
};

type Looked = { item: DrainItemProgress; actions: Action[]; recheckMs?: number | undefined };

export function decide(observed: Observed): Decision {
  const { node, drain } = observed;
  const looked: Looked[] = [];
  const before = () => looked.map(({ item }) => item);
  for (const item of itemsOf(node)) looked.push(look(item, observed, before()));
  for (const instance of newcomers(observed)) looked.push(look({ ...begun(observed.plan(instance, before())), added: true }, observed, before()));
  const told = node.status.drainProgress?.uid === drain.uid ? node.status.drainProgress : undefined;
  const progress = progressOf(node, before());
  const write: Action[] = sameMessage(told, progress)
    ? []
    : [{ do: "put-node", node: { ...node, status: { ...node.status, drainProgress: progress } } }, ...notices(node, told, progress)];
  const isOver = progress.phase === DrainPhase.COMPLETED || progress.phase === DrainPhase.CANCELLED;
  return {
    actions: [...looked.flatMap(({ actions }) => actions), ...write],
    recheckMs: isOver ? undefined : earliest(RECHECK_MS, ...looked.map(({ recheckMs }) => recheckMs)),
  };
}

/** Came after the plan was made, or are another run than the one that was planned for. */
function newcomers({ node, instances }: Observed): Instance[] {
  if (isEnded(node)) return [];
  const known = new Set(itemsOf(node).map(({ uid }) => uid));
  return instances.filter(({ metadata }) => !known.has(metadata.uid));
}

const FINAL: readonly DrainItemState[] = [DrainItemState.DONE, DrainItemState.CANCELLED];

function look(item: DrainItemProgress, observed: Observed, before: Before): Looked {
  const evidence = observed.evidence(item, before);
  // A machine that has left and comes back by a migration that an administrator asked for is on the node again.
  const step = FINAL.includes(item.state) && holds("gone", evidence) ? undefined : next(item.action, (fact) => holds(fact, evidence));
  if (!step) return { item, actions: marking(item, evidence, observed) };
  const after = itemAfter(evidence, step, { observed, before });
  return { item: after, actions: act(after, evidence, { step, observed }), recheckMs: recheck(evidence, step) };
}

function itemAfter(evidence: Evidence, step: Step, { observed, before }: { observed: Observed; before: Before }): DrainItemProgress {
  const { item, instance, target } = evidence;
  const message = messageOf(step, evidence);
  if (step.move === "plan" && instance) return { ...begun(observed.plan(instance, before)), added: item.added };
  const placed = step.move === "retarget" ? { action: DrainAction.MIGRATE, targetNode: target().name ?? "" } : {};
  return { ...item, ...placed, state: step.to, reason: step.reason, message };
}

function act(item: DrainItemProgress, evidence: Evidence, { step, observed }: { step: Step; observed: Observed }): Action[] {
  const { node, drain } = observed;
  const { instance, migration } = evidence;
  const marks = marking(item, evidence, observed, step.move === "stop");
  if (step.move === "migrate" && instance) return [...marks, { do: "create-migration", migration: migrationFor(item, instance, { node, drain }) }];
  if (step.move === "stop" && instance) return [...marks, { do: "delete-instance", instance, drain: { node: node.metadata.name, uid: drain.uid } }];
  if (step.move === "cancel" && migration) return [...marks, { do: "put-migration", migration: { ...migration, status: { ...migration.status, cancelRequested: true } } }];
  if (step.move === "retarget") return [...marks, replanned(node, item)];
  return marks;
}

function marking(item: DrainItemProgress, { instance }: Evidence, { node, now }: Observed, stops = false): Action[] {
  if (!instance) return [];
  const ending = instance.metadata.deletionTimestamp !== undefined;
  return mark(instance, { node, item, now, stops: stops || (ending && isStoppedByDrain(instance)) });
}

function replanned(node: NodeRecord, { namespace, name, message }: DrainItemProgress): Action {
  return { do: "notify", notice: { kind: "Node", about: node, reason: "DrainReplanned", message: `${namespace}/${name} ${message}`, type: EventType.WARNING } };
}

function recheck(evidence: Evidence, { to, move, reason }: Step): number | undefined {
  if (to === DrainItemState.FAILED) return Math.max(0, retryInMs(evidence)) + 1;
  return reason === DrainReason.TARGET_LOST && move === "nothing" ? Math.max(0, HELD_MS - evidence.lostMs()) + 1 : undefined;
}
