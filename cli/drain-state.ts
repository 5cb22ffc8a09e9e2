/** A drain as the command shows it: its plan as a table, how far it is, and what a wait makes of it. Pure. */
import { EvictionStrategy } from "../gen/drover/v1/machine.ts";
import { DrainAction, DrainItemState, DrainPhase, DrainReason } from "../gen/drover/v1/node.ts";
import type { DrainItemProgress, DrainPlan, DrainPlanItem, Node } from "../gen/drover/v1/node.ts";
import { isDraining, itemsOf } from "../lib/drain/record.ts";
import { word } from "./kinds/kind.ts";
import { tableLines } from "./table.ts";
import type { Verdict } from "./wait.ts";

type Named = { namespace: string; name: string };

const machine = ({ namespace, name }: Named): string => `${namespace}/${name}`;

const COUNTED: readonly (readonly [DrainAction, (count: number) => string])[] = [
  [DrainAction.MIGRATE, (count) => `${machines(count)} to move`],
  [DrainAction.STOP, (count) => `${count} to stop`],
  [DrainAction.WAIT_EXTERNAL, (count) => `${count} for something outside to move`],
  [DrainAction.STAY, (count) => `${count} on the way already`],
  [DrainAction.BLOCKED, (count) => `${count} in the way`],
];

const machines = (count: number): string => `${count} ${count === 1 ? "machine" : "machines"}`;

const seconds = (ms: number): string => `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;

/** "4.2 s, down 210 ms". */
const forecastCell = ({ forecast }: DrainPlanItem): string => (forecast ? `${seconds(forecast.durationMs)}, down ${forecast.downtimeMs} ms` : "");

export function planLines({ id, items, durationMs }: DrainPlan): string[] {
  if (items.length === 0) return ["No machine is on it."];
  const rows = items.map((item) => [machine(item), word(DrainAction, item.action), item.targetNode, word(EvictionStrategy, item.evictionStrategy), forecastCell(item), item.message]);
  const counts = COUNTED.flatMap(([action, say]) => {
    const count = items.filter((item) => item.action === action).length;
    return count === 0 ? [] : [say(count)];
  });
  return [...tableLines(["MACHINE", "ACTION", "TARGET", "STRATEGY", "FORECAST", "WHY"], rows), "", `Plan ${id}: ${counts.join(", ")}${durationMs > 0 ? `, in about ${seconds(durationMs)}` : ""}.`];
}

export const plainPlan = ({ id, items, durationMs }: DrainPlan) => ({
  id,
  durationMs,
  items: items.map(({ namespace, name, uid, action, targetNode, reason, message, evictionStrategy, forecast }) => ({
    namespace, name, uid, action: word(DrainAction, action), targetNode, reason: word(DrainReason, reason), message, evictionStrategy: word(EvictionStrategy, evictionStrategy),
    ...(forecast && { forecast: { durationMs: forecast.durationMs, downtimeMs: forecast.downtimeMs, bytes: forecast.bytes, converges: forecast.converges } }),
  })),
});

/** For a node's table: "Draining:3/5", "DrainWaiting:3/5", "Drained"; nothing of a drain that is over and undone. */
export function drainWord(node: Node): string {
  const items = itemsOf(node);
  const phase = phaseOf(node);
  if (phase === DrainPhase.COMPLETED) return node.spec?.unschedulable ? "Drained" : "";
  if (!isDraining(node)) return "";
  const done = items.filter(({ state }) => state === DrainItemState.DONE).length;
  const words: Partial<Record<DrainPhase, string>> = { [DrainPhase.WAITING]: "DrainWaiting", [DrainPhase.CANCELLING]: "DrainEnding" };
  return `${words[phase] ?? "Draining"}:${done}/${items.length}`;
}

/** Of the drain that stands in the record, as far as the controller has looked at that one. */
function phaseOf({ status }: Node): DrainPhase {
  const { drain, drainProgress } = status ?? {};
  return drain && drainProgress?.uid === drain.uid ? drainProgress.phase : DrainPhase.UNSPECIFIED;
}

/** What `describe` shows. */
export function drainLines(node: Node): string[] {
  const drain = node.status?.drain;
  if (!drain) return [];
  const rows = itemsOf(node).map((item) => [machine(item), word(DrainAction, item.action), item.targetNode, word(DrainItemState, item.state), word(DrainReason, item.reason), item.message]);
  const head = `drain: ${word(DrainPhase, phaseOf(node)) || "not looked at yet"}, plan ${drain.plan?.id ?? ""} by ${drain.subject} at ${drain.time?.toISOString() ?? ""}`;
  return [head, ...tableLines(["MACHINE", "ACTION", "TARGET", "STATE", "REASON", "MESSAGE"], rows).map((line) => `  ${line}`)];
}

/** A drain that waits for something outside goes on when that acts: everything else that holds it up needs somebody. */
export function drainedFor(uid: string) {
  return (node: Node | undefined): Verdict => {
    if (!node) return { failed: "it was deleted" };
    if (node.status?.drain?.uid !== uid) return { failed: "another drain took the place of this one" };
    const phase = phaseOf(node);
    if (phase === DrainPhase.COMPLETED) return { done: true };
    if (node.status.drain.cancelled || phase === DrainPhase.CANCELLED) return { failed: `its drain was ended: ${progressLine(node)}` };
    if (phase !== DrainPhase.WAITING || blocked(node).every(({ reason }) => reason === DrainReason.EXTERNAL)) return undefined;
    return { failed: `its drain waits for ${node.status.drainProgress!.waitingFor.join("; ")}` };
  };
}

const blocked = (node: Node): DrainItemProgress[] => itemsOf(node).filter(({ state }) => state === DrainItemState.BLOCKED);

/** "3 of 5 machines have left, 1 moving, 1 waiting". */
export function progressLine(node: Node): string {
  const items = itemsOf(node);
  const count = (...states: DrainItemState[]) => items.filter(({ state }) => states.includes(state)).length;
  const parts: [number, string][] = [
    [count(DrainItemState.RUNNING), "moving or stopping"], [count(DrainItemState.PENDING), "waiting for their turn"],
    [count(DrainItemState.FAILED), "to be tried again"], [count(DrainItemState.BLOCKED), "in the way"], [count(DrainItemState.CANCELLED), "left here"],
  ];
  const told = parts.filter(([number]) => number > 0).map(([number, what]) => `${number} ${what}`);
  return [`${count(DrainItemState.DONE)} of ${items.length} machines have left`, ...told].join(", ");
}

/** What the uncordon of this answer ended; empty when there was no drain to end. */
export function endedLine(node: Node): string {
  if (!node.status?.drain?.cancelled || !isDraining(node)) return "";
  const items = itemsOf(node);
  const going = items.filter(({ state }) => state === DrainItemState.RUNNING).map(machine);
  const staying = items.filter(({ state }) => state !== DrainItemState.RUNNING && state !== DrainItemState.DONE).map(machine);
  const parts = [
    staying.length > 0 && `not begun and cancelled: ${staying.join(", ")}`,
    going.length > 0 && `begun, and going on to the end: ${going.join(", ")}`,
  ].filter((part) => part !== false);
  return `its drain is ended${parts.length > 0 ? `; ${parts.join("; ")}` : ""}`;
}
