/**
 * What a drain does with each machine of a node: moved, stopped, waited for, or in the way. The eviction strategy is its
 * owner's word; only that, or the operator's by name, lets a drain stop a machine. Room at targets is booked as it goes, so
 * that the whole plan fits. Pure.
 */
import { createHash } from "node:crypto";
import { EvictionStrategy } from "../../gen/drover/v1/machine.ts";
import { ConditionStatus } from "../../gen/drover/v1/meta.ts";
import { DrainAction, DrainPlan, DrainPlanItem, DrainReason, NodeSessionState } from "../../gen/drover/v1/node.ts";
import type { Node } from "../../gen/drover/v1/node.ts";
import { RunStrategy } from "../../gen/drover/v1/virtual_machine.ts";
import { Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { demandOf } from "../capacity.ts";
import { booked } from "../preflight/candidate.ts";
import type { Snapshot } from "../preflight/candidate.ts";
import { choose, explain } from "../preflight/choose.ts";

type Instance = VirtualMachineInstance;

/** An open migration of an instance. `own`: a drain of this node has made it. */
export type OpenMigration = { name: string; targetNode: string; own: boolean };

export type Around = {
  /** The node that is drained. */
  node: Node;
  open: (instance: Instance) => OpenMigration | undefined;
  /** Of the machine that it is a run of; undefined where there is none, or nobody knows. */
  runStrategy: (instance: Instance) => RunStrategy | undefined;
  /** The operator has said that it may be stopped. */
  stopAllowed: (instance: Instance) => boolean;
  /** Nobody sees the plan before it is carried out, so that it may name no stops. */
  unseen?: boolean;
  /** Images that the machine would bring along and that others have at the node already. */
  occupied?: (instance: Instance, node: Node) => string[];
  /** A target that is kept as long as it will do. */
  preferred?: (instance: Instance) => string | undefined;
};

type Decided = Pick<DrainPlanItem, "action" | "reason"> & Partial<Pick<DrainPlanItem, "targetNode" | "message">>;

const { MIGRATE, STOP, BLOCKED, WAIT_EXTERNAL, STAY } = DrainAction;
const FINAL: readonly Phase[] = [Phase.SUCCEEDED, Phase.FAILED];

/** What stops a machine comes last, so that a drain that is ended early has stopped none. */
const ORDER: readonly DrainAction[] = [WAIT_EXTERNAL, STAY, MIGRATE, STOP, BLOCKED];

/** `instances` are those that are on the node or on their way to it. */
export function planDrain(instances: readonly Instance[], snapshot: Snapshot, around: Around): DrainPlan {
  const items: DrainPlanItem[] = [];
  let left = snapshot;
  // The largest first: what is small finds room where what is large does not.
  for (const instance of instances.toSorted(bySize)) {
    const item = planItem(instance, left, around);
    if (item.action === MIGRATE && !around.open(instance)) left = booked(left, item.targetNode, demandOf(instance.spec));
    items.push(item);
  }
  const order = items.toSorted((a, b) => ORDER.indexOf(a.action) - ORDER.indexOf(b.action));
  return DrainPlan.create({ id: digestOf(around.node, order), items: order });
}

export function planItem(instance: Instance, snapshot: Snapshot, around: Around): DrainPlanItem {
  const { namespace, name, uid } = instance.metadata!;
  const evictionStrategy = instance.spec?.evictionStrategy || EvictionStrategy.NONE;
  const decided = leaving(instance, around) ?? held(instance, around) ?? evicted(instance, snapshot, around);
  return DrainPlanItem.create({ namespace, name, uid, evictionStrategy, ...decided, message: decided.message ?? "" });
}

/** What leaves by itself, or has not come yet. */
function leaving(instance: Instance, { node, open }: Around): Decided | undefined {
  const { nodeName = "", phase = Phase.UNSPECIFIED } = instance.status ?? {};
  if (instance.metadata?.deletionTimestamp || FINAL.includes(phase)) return { action: STAY, reason: DrainReason.ENDING, message: "it is being stopped or deleted" };
  const migration = open(instance);
  if (nodeName !== node.metadata?.name) {
    const arrives = instance.status?.migration?.targetNode === node.metadata?.name;
    return arrives
      ? { action: STAY, reason: DrainReason.ARRIVING, message: "a migration brings it here: it is planned when it has come" }
      : { action: STAY, reason: DrainReason.MIGRATING, message: `it runs on node ${nodeName}, and this one tidies up after it` };
  }
  if (!migration) return undefined;
  const { own, targetNode } = migration;
  const way = `the migration ${migration.name} moves it${targetNode === "" ? "" : ` to ${targetNode}`}`;
  return own ? { action: MIGRATE, reason: DrainReason.UNSPECIFIED, targetNode, message: way } : { action: STAY, reason: DrainReason.MIGRATING, message: way };
}

/** Nothing can be done with it as things are. */
function held(instance: Instance, { node }: Around): Decided | undefined {
  if (instance.spec?.evictionStrategy === EvictionStrategy.EXTERNAL) {
    return { action: WAIT_EXTERNAL, reason: DrainReason.EXTERNAL, message: "something outside Drover moves it" };
  }
  if (node.status?.session?.state === NodeSessionState.CONNECTED) return undefined;
  return { action: BLOCKED, reason: DrainReason.NODE_SILENT, message: `the agent of ${node.metadata?.name ?? ""} does not answer` };
}

const LIVE: readonly EvictionStrategy[] = [EvictionStrategy.LIVE_MIGRATE, EvictionStrategy.LIVE_MIGRATE_IF_POSSIBLE];

export const movesLive = (strategy: EvictionStrategy | undefined): boolean => LIVE.includes(strategy ?? EvictionStrategy.NONE);

function evicted(instance: Instance, snapshot: Snapshot, around: Around): Decided {
  const inTheWay = (reason: DrainReason, message: string) => stoppedOr(instance, { reason, message }, around);
  if (!movesLive(instance.spec?.evictionStrategy)) return inTheWay(DrainReason.STRATEGY_NONE, "its eviction strategy None keeps it here");
  const [migratable, paused] = ["LiveMigratable", "Paused"].map((type) => instance.status?.conditions.find((condition) => condition.type === type));
  if (migratable?.status === ConditionStatus.FALSE) return inTheWay(DrainReason.NOT_MIGRATABLE, `it cannot move live: ${migratable.message || migratable.reason}`);
  if (paused?.status === ConditionStatus.TRUE) {
    const message = `it is paused: ${paused.message || paused.reason}`;
    return around.stopAllowed(instance) ? inTheWay(DrainReason.PAUSED, message) : { action: BLOCKED, reason: DrainReason.PAUSED, message };
  }
  const { target, why } = targetOf(instance, snapshot, around);
  if (target === undefined) return inTheWay(DrainReason.NO_TARGET, why);
  if (instance.status?.phase === Phase.RUNNING) return { action: MIGRATE, reason: DrainReason.UNSPECIFIED, targetNode: target };
  return { action: MIGRATE, reason: DrainReason.NOT_RUNNING, targetNode: target, message: "it is starting, and moves when it runs" };
}

/** The node to move it to, the preferred one if that will do. A queue before it is no obstacle. */
export function targetOf(
  instance: Instance,
  snapshot: Snapshot,
  { node, preferred, occupied }: Pick<Around, "node" | "preferred" | "occupied">,
): { target: string | undefined; why: string } {
  const wanted = {
    instance: instance.spec!, hardware: instance.status?.hardware, demand: demandOf(instance.spec), purpose: "migrate" as const, sourceNode: node,
    ...(occupied && { occupied: (target: Node) => occupied(instance, target) }),
  };
  const kept = preferred?.(instance);
  const same = kept ? choose(snapshot, { ...wanted, targetNode: kept }, { patient: true }).chosen : undefined;
  if (same) return { target: same.name, why: "" };
  const { chosen, reasons } = choose(snapshot, wanted, { patient: true });
  return { target: chosen?.name, why: chosen ? "" : explain(reasons) };
}

type Obstacle = { reason: DrainReason; message: string };

function stoppedOr(instance: Instance, { reason, message }: Obstacle, around: Around): Decided {
  const strategyAllows = instance.spec?.evictionStrategy === EvictionStrategy.LIVE_MIGRATE_IF_POSSIBLE && !around.unseen;
  const allowed = around.stopAllowed(instance);
  if (!strategyAllows && !allowed) return { action: BLOCKED, reason, message };
  const after = afterStop(around.runStrategy(instance));
  const why = strategyAllows ? message : `${message}, and the operator allowed to stop it`;
  return { action: STOP, reason: strategyAllows ? reason : DrainReason.STOP_ALLOWED, message: `${why}; ${after}` };
}

const RESTARTS: readonly RunStrategy[] = [RunStrategy.ALWAYS, RunStrategy.HALTED, RunStrategy.RERUN_ON_FAILURE];

function afterStop(strategy: RunStrategy | undefined): string {
  if (strategy === undefined) return "nothing starts it again";
  return RESTARTS.includes(strategy) ? "it starts again on another node" : "it stays off until it is started";
}

function bySize(a: Instance, b: Instance): number {
  const [nameA, nameB] = [a, b].map(({ metadata }) => `${metadata!.namespace}/${metadata!.name}`) as [string, string];
  return demandOf(b.spec).memoryBytes - demandOf(a.spec).memoryBytes || (nameA < nameB ? -1 : 1);
}

const DIGEST_LENGTH = 16;

function digestOf(node: Node, items: readonly DrainPlanItem[]): string {
  const parts = items.map(({ uid, action, targetNode }) => `${uid} ${action} ${targetNode}`).toSorted();
  return createHash("sha256").update([node.metadata?.uid, ...parts].join("\n")).digest("hex").slice(0, DIGEST_LENGTH);
}

/** Until all have ended, so many at once, each begun as soon as there is a slot. */
export function together(durationsMs: readonly number[], slots: number): number {
  const free = Array.from({ length: slots }, () => 0);
  for (const duration of durationsMs) {
    const next = free.indexOf(Math.min(...free));
    free[next] = free[next]! + duration;
  }
  return Math.max(0, ...free);
}
