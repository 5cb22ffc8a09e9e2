/**
 * What a machine's own record says of a drain that wants something of somebody: of what is outside Drover, of its owner, or
 * of the controller that finds its run ended by it. Pure.
 */
import { EventType } from "../../gen/drover/v1/event.ts";
import { DrainItemState, DrainReason } from "../../gen/drover/v1/node.ts";
import type { DrainItemProgress } from "../../gen/drover/v1/node.ts";
import { EVACUATION_EXTERNAL, EVACUATION_REQUESTED, EVACUATION_STOP } from "../../lib/drain/record.ts";
import type { Action } from "../actions.ts";
import { conditionOf, holds, withFacts, without } from "../conditions.ts";
import type { Instance, NodeRecord } from "../objects.ts";

/** `stops`: its run ends now, or has been told to by this drain. */
export type Marking = { node: NodeRecord; item: DrainItemProgress; stops: boolean; now: Date };

/** Nothing when the record says what it shall already. */
export function mark(instance: Instance, { node, item, stops, now }: Marking): Action[] {
  const held = conditionOf(instance.status.conditions, EVACUATION_REQUESTED);
  const reason = stops ? EVACUATION_STOP : reasonFor(item);
  if (reason === undefined) {
    if (!held) return [];
    return [{ do: "put-instance", instance: { ...instance, status: { ...instance.status, conditions: without(instance.status.conditions, EVACUATION_REQUESTED) } } }];
  }
  const message = `node ${node.metadata.name} is being drained${item.message && `: ${item.message}`}`;
  if (held?.reason === reason && (held.message === message || stops)) return [];
  const conditions = withFacts(instance.status.conditions, [holds(EVACUATION_REQUESTED, reason, message)], now);
  return [
    { do: "put-instance", instance: { ...instance, status: { ...instance.status, conditions } } },
    { do: "notify", notice: { kind: "VirtualMachineInstance", about: instance, reason: EVACUATION_REQUESTED, message, type: EventType.WARNING } },
  ];
}

function reasonFor({ state, reason }: DrainItemProgress): string | undefined {
  if (state !== DrainItemState.BLOCKED) return undefined;
  return reason === DrainReason.EXTERNAL ? EVACUATION_EXTERNAL : "HoldsDrainUp";
}

/** The run is being ended by a drain. */
export const isStoppedByDrain = ({ status }: Instance): boolean => conditionOf(status.conditions, EVACUATION_REQUESTED)?.reason === EVACUATION_STOP;
