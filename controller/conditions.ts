/** Conditions of a record, pure: one entry for each type, its time moved only when its status moved. */
import { ConditionStatus } from "../gen/drover/v1/meta.ts";
import type { Condition } from "../gen/drover/v1/meta.ts";

export type Fact = { type: string; status: ConditionStatus; reason: string; message: string };

export const holds = (type: string, reason: string, message = ""): Fact => ({ type, status: ConditionStatus.TRUE, reason, message });
export const fails = (type: string, reason: string, message = ""): Fact => ({ type, status: ConditionStatus.FALSE, reason, message });
export const unknown = (type: string, reason: string, message = ""): Fact => ({ type, status: ConditionStatus.UNKNOWN, reason, message });

export function conditionOf(conditions: readonly Condition[], type: string): Condition | undefined {
  return conditions.find((condition) => condition.type === type);
}

/** The same array when nothing changed, so that callers can tell. */
export function withFacts(conditions: Condition[], facts: readonly Fact[], now: Date): Condition[] {
  return facts.reduce((all, fact) => withFact(all, fact, now), conditions);
}

export function without(conditions: Condition[], type: string): Condition[] {
  return conditions.some((condition) => condition.type === type) ? conditions.filter((condition) => condition.type !== type) : conditions;
}

function withFact(conditions: Condition[], fact: Fact, now: Date): Condition[] {
  const held = conditionOf(conditions, fact.type);
  if (!held) return [...conditions, { ...fact, lastTransitionTime: now }];
  if (held.status === fact.status && held.reason === fact.reason && held.message === fact.message) return conditions;
  const lastTransitionTime = held.status === fact.status ? held.lastTransitionTime : now;
  return conditions.map((condition) => (condition === held ? { ...held, ...fact, lastTransitionTime } : condition));
}
