/** What a node's record says of its drain. Pure. */
import { DrainAction, DrainItemProgress, DrainItemState, DrainPhase, DrainReason } from "../../gen/drover/v1/node.ts";
import type { DrainPlan, DrainPlanItem, Node } from "../../gen/drover/v1/node.ts";

/** Label of a drain's migrations: the uid of the node that is drained. */
export const DRAIN_LABEL = "drover.dev/drain";

/** Type of an instance's condition: its node is drained, and its reason says what shall become of it. */
export const EVACUATION_REQUESTED = "EvacuationRequested";
/** Something outside Drover is asked to move it. */
export const EVACUATION_EXTERNAL = "External";
/** The drain ends its run: how the run ended says nothing of the machine. */
export const EVACUATION_STOP = "StoppedByDrain";

/** Uncordoning ends a drain, by whatever way the node is uncordoned. */
export const isEnded = ({ spec, status }: Node): boolean => status?.drain?.cancelled === true || spec?.unschedulable !== true;

const OVER: readonly DrainPhase[] = [DrainPhase.COMPLETED, DrainPhase.CANCELLED];

/** The controller has something to do for it still. */
export function isDraining({ status }: Node): boolean {
  const { drain, drainProgress } = status ?? {};
  if (!drain) return false;
  return drainProgress?.uid !== drain.uid || !OVER.includes(drainProgress.phase);
}

/** Each machine of the drain as it stands, those that the controller has not looked at yet as they were planned. */
export function itemsOf({ status }: Node): DrainItemProgress[] {
  const { drain, drainProgress } = status ?? {};
  if (!drain) return [];
  const told = drainProgress?.uid === drain.uid ? drainProgress.items : [];
  const planned = (drain.plan?.items ?? []).map((item) => told.find(({ uid }) => uid === item.uid) ?? begun(item));
  return [...planned, ...told.filter(({ added }) => added)];
}

export function begun({ namespace, name, uid, action, targetNode, reason, message }: DrainPlanItem): DrainItemProgress {
  return DrainItemProgress.create({ namespace, name, uid, action, targetNode, reason, message, state: DrainItemState.PENDING });
}

/** The drain as it stands does what the plan says with all that is left. */
export function agrees(plan: DrainPlan, node: Node): boolean {
  const items = itemsOf(node);
  return plan.items.every(({ uid, action, targetNode }) => {
    const item = items.find((other) => other.uid === uid);
    if (!item || item.state === DrainItemState.CANCELLED || item.reason === DrainReason.MIGRATION_CANCELLED) return false;
    return action === DrainAction.STAY || (item.action === action && item.targetNode === targetNode);
  });
}

