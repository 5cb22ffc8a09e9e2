/** A node's drain in its record: what was planned is written once, and what may be stopped is in it by name. Pure. */
import { DrainAction, NodeSpec, NodeStatus } from "../../gen/drover/v1/node.ts";
import type { DrainPlan, DrainPlanItem, Node, NodeDrain } from "../../gen/drover/v1/node.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { agrees, isDraining, isEnded } from "../../lib/drain/record.ts";
import { InvalidArgument } from "../../lib/errors.ts";
import { metaOf } from "../kinds/kind.ts";
import { NODE, refuse } from "./refusal.ts";

export type NewDrain = { plan: DrainPlan; planId: string; uid: string; subject: string; now: Date; /** Of `planId`, where it is remembered. */ seen: DrainPlan | undefined };

/** Undefined where the open drain does what the plan says already. */
export function drained(node: Node, { plan, planId, uid, subject, now, seen }: NewDrain): Node | undefined {
  if (planId !== "" && planId !== plan.id) {
    const changes = seen ? changesBetween(seen, plan) : ["what was planned is not remembered any more"];
    refuse("PLAN_CHANGED", { plural: NODE, object: node }, `The plan of "${metaOf(node).name}" is another now (${plan.id}): ${changes.join("; ")}`);
  }
  if (stands(node, plan)) return undefined;
  const drain: NodeDrain = { uid, plan, subject, time: now, cancelled: false };
  return { ...node, spec: { ...(node.spec ?? NodeSpec.create()), unschedulable: true }, status: { ...(node.status ?? NodeStatus.create()), drain } };
}

/** An open drain goes on; one that is through has nothing left to do for an empty plan. */
function stands(node: Node, plan: DrainPlan): boolean {
  if (!node.status?.drain || isEnded(node)) return false;
  return isDraining(node) ? agrees(plan, node) : plan.items.length === 0;
}

/** Takes new machines again, and begins nothing of a drain any more; repeating it changes nothing. */
export function uncordoned(node: Node): Node | undefined {
  const drain = isDraining(node) ? node.status?.drain : undefined;
  const ends = drain && !drain.cancelled;
  if (!ends && node.spec?.unschedulable !== true) return undefined;
  const status = ends ? { ...node.status!, drain: { ...drain, cancelled: true } } : node.status;
  return { ...node, spec: { ...(node.spec ?? NodeSpec.create()), unschedulable: false }, status };
}

const DEFAULT_NAMESPACE = "default";

/** Which of the node's machines may be stopped. Throws INVALID_ARGUMENT for a name of none of them. */
export function stopsAllowed(instances: readonly VirtualMachineInstance[], { allowStop, allowStopAll }: { allowStop: readonly string[]; allowStopAll: boolean }) {
  const there = new Set(instances.map(keyOf));
  const named = allowStop.map((name) => (name.includes("/") ? name : `${DEFAULT_NAMESPACE}/${name}`));
  const faults = named.flatMap((key, index) =>
    there.has(key) ? [] : [{ path: `allow_stop[${index}]`, message: `must name a machine of the node: "${key}" is none; there are ${some(there)}` }]);
  if (faults.length > 0) throw new InvalidArgument(faults);
  const allowed = new Set(named);
  return (instance: VirtualMachineInstance): boolean => allowStopAll || allowed.has(keyOf(instance));
}

export const keyOf = ({ metadata }: VirtualMachineInstance): string => `${metadata!.namespace}/${metadata!.name}`;

const SHOWN_MAX = 10;

function some(names: ReadonlySet<string>): string {
  const sorted = [...names].toSorted();
  return [...sorted.slice(0, SHOWN_MAX), ...(sorted.length > SHOWN_MAX ? [`${sorted.length - SHOWN_MAX} more`] : [])].join(", ") || "none";
}

/** One sentence for each machine of which the plans say different things. */
function changesBetween(before: DrainPlan, after: DrainPlan): string[] {
  const gone = before.items.filter(({ uid }) => !after.items.some((item) => item.uid === uid)).map((item) => `${nameOf(item)} is not on the node any more`);
  const changed = after.items.flatMap((item) => {
    const was = before.items.find(({ uid }) => uid === item.uid);
    if (!was) return [`${nameOf(item)} has come`];
    return sayingOf(was) === sayingOf(item) ? [] : [`${nameOf(item)}: ${sayingOf(item)} instead of ${sayingOf(was)}`];
  });
  return [...gone, ...changed];
}

const nameOf = ({ namespace, name }: DrainPlanItem): string => `${namespace}/${name}`;

const SAYINGS: Partial<Record<DrainAction, string>> = {
  [DrainAction.MIGRATE]: "migrate",
  [DrainAction.STOP]: "stop",
  [DrainAction.BLOCKED]: "blocked",
  [DrainAction.WAIT_EXTERNAL]: "wait for something outside",
  [DrainAction.STAY]: "stay",
};

const sayingOf = ({ action, targetNode }: DrainPlanItem): string => `${SAYINGS[action] ?? "unknown"}${targetNode && ` to ${targetNode}`}`;
