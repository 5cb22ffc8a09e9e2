/** How far a drain is, as people read it: a sentence for each machine, a phase for all of them, and what is told once. Pure. */
import { EventType } from "../../gen/drover/v1/event.ts";
import { DrainItemState, DrainPhase, DrainReason, NodeDrainProgress } from "../../gen/drover/v1/node.ts";
import type { DrainItemProgress } from "../../gen/drover/v1/node.ts";
import { isEnded } from "../../lib/drain/record.ts";
import type { Action, Notice } from "../actions.ts";
import { conditionOf } from "../conditions.ts";
import type { NodeRecord } from "../objects.ts";
import { retryAfterMs } from "./facts.ts";
import type { Evidence } from "./facts.ts";
import type { Step } from "./lines.ts";

type Said = (evidence: Evidence) => string | undefined;

const condition = ({ instance }: Evidence, type: string): string => {
  const held = conditionOf(instance?.status.conditions ?? [], type);
  return held?.message || held?.reason || "no reason was given";
};

const sayings: Partial<Record<DrainReason, Said>> = {
  [DrainReason.MOVED]: ({ instance }) => `runs on node ${instance?.status.nodeName ?? ""}`,
  [DrainReason.STOPPED]: () => "its run has ended",
  [DrainReason.ENDING]: () => "it is being stopped",
  [DrainReason.ARRIVING]: () => "a migration brings it here: it is planned when it has come",
  [DrainReason.QUEUED]: () => "its migration waits in the queue",
  [DrainReason.MIGRATING]: ({ migration }) => `the migration ${migration?.metadata.name ?? ""} moves it`,
  [DrainReason.NODE_SILENT]: ({ node, migration }) => migration?.status.waitingFor.join("; ") || `the agent of ${node.metadata.name} does not answer`,
  [DrainReason.STRATEGY_NONE]: () => "its eviction strategy None keeps it here: stop or migrate it, or drain again and allow its stop",
  [DrainReason.NOT_MIGRATABLE]: (evidence) => `it cannot move live: ${condition(evidence, "LiveMigratable")}`,
  [DrainReason.PAUSED]: (evidence) => `it is paused: ${condition(evidence, "Paused")}`,
  [DrainReason.NOT_RUNNING]: () => "it is starting, and moves when it runs",
  [DrainReason.MIGRATION_CANCELLED]: ({ latest }) => `its migration ${latest?.metadata.name ?? ""} was cancelled: drain again to move it`,
  [DrainReason.NO_TARGET]: ({ target }) => target().why,
  [DrainReason.TARGET_LOST]: ({ item }) => `node ${item.targetNode} cannot take it at the moment`,
  [DrainReason.MIGRATION_FAILED]: failure,
  [DrainReason.EXTERNAL]: () => "something outside Drover is asked to move it",
  [DrainReason.DRAIN_ENDED]: ({ migration }) => (migration ? "its migration goes on to its end" : "the drain was ended before it began"),
};

function failure({ item, latest, refusal }: Evidence): string {
  const retry = (attempts: number) => `it is tried again after ${retryAfterMs(attempts) / 1000} s`;
  if (refusal) return `its migration was refused: ${refusal.message}; ${retry(refusal.times)}`;
  return `attempt ${item.attempts} failed: ${latest?.status.message || "no reason was given"}; ${retry(item.attempts)}`;
}

/** What was planned stays said where there is nothing to add. */
export function messageOf({ move, reason }: Step, evidence: Evidence): string {
  return move === "retarget" ? retargeted(evidence) : (sayings[reason]?.(evidence) ?? evidence.item.message);
}

function retargeted({ item: { targetNode }, target, givenUp }: Evidence): string {
  const name = target().name ?? "";
  if (targetNode === "") return `node ${name} can take it now`;
  return `moves to ${name} as ${givenUp ? `too many attempts to move it to ${targetNode} failed` : `node ${targetNode} cannot take it any more`}`;
}

const { PENDING, RUNNING, DONE, FAILED, BLOCKED } = DrainItemState;
const BY_ITSELF: readonly DrainItemState[] = [PENDING, RUNNING, FAILED];
const SHOWN_MAX = 50;

export function progressOf(node: NodeRecord, items: DrainItemProgress[]): NodeDrainProgress {
  const waiting = items.filter(({ state }) => state === BLOCKED).map(({ namespace, name, message }) => `${namespace}/${name}: ${message}`);
  const more = waiting.length > SHOWN_MAX ? [`${waiting.length - SHOWN_MAX} more`] : [];
  return NodeDrainProgress.create({
    uid: node.status.drain?.uid ?? "",
    phase: phaseOf(node, items),
    items,
    done: items.filter(({ state }) => state === DONE).length,
    waitingFor: [...waiting.slice(0, SHOWN_MAX), ...more],
  });
}

function phaseOf(node: NodeRecord, items: readonly DrainItemProgress[]): DrainPhase {
  const goesOn = items.some(({ state }) => BY_ITSELF.includes(state));
  const holds = items.some(({ state }) => state === BLOCKED);
  if (items.every(({ state }) => state === DONE) && !isEnded(node)) return DrainPhase.COMPLETED;
  if (isEnded(node)) return goesOn || holds ? DrainPhase.CANCELLING : DrainPhase.CANCELLED;
  return goesOn ? DrainPhase.RUNNING : DrainPhase.WAITING;
}

/** Told once, when the phase is entered. */
export function notices(node: NodeRecord, before: NodeDrainProgress | undefined, after: NodeDrainProgress): Action[] {
  if (before?.phase === after.phase) return [];
  const { items, done, waitingFor } = after;
  const moved = `${done} of ${items.length} machines have left`;
  const { NORMAL, WARNING } = EventType;
  const said: Partial<Record<DrainPhase, Pick<Notice, "reason" | "message" | "type">>> = {
    [DrainPhase.RUNNING]: { reason: "DrainRunning", message: moved, type: NORMAL },
    [DrainPhase.WAITING]: { reason: "DrainWaiting", message: `${moved}; waits for ${waitingFor.join("; ")}`, type: WARNING },
    [DrainPhase.COMPLETED]: { reason: "DrainCompleted", message: "no machine is left on it", type: NORMAL },
    [DrainPhase.CANCELLED]: { reason: "DrainCancelled", message: `${moved}, the others stay`, type: NORMAL },
  };
  const one = said[after.phase];
  return one ? [{ do: "notify", notice: { kind: "Node", about: node, ...one } }] : [];
}
