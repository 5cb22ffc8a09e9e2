/** Whether messages say the same, and the rule for kinds whose spec is fixed at creation. Pure. */
import type { Fault } from "../../lib/errors.ts";

export function unchangedSpec(before: { spec: unknown }, after: { spec: unknown }): Fault[] {
  return sameMessage(before.spec, after.spec) ? [] : [{ path: "spec", message: "must not change: it is fixed at creation" }];
}

/** Decoded and made messages alike: an absent field is an undefined one, and maps have no order. */
export function sameMessage(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof Date || b instanceof Date) return a instanceof Date && b instanceof Date && a.getTime() === b.getTime();
  if (a instanceof Uint8Array || b instanceof Uint8Array) {
    return a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0;
  }
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [left, right] = [fieldsOf(a), fieldsOf(b)];
  return left.size === right.size && [...left].every(([key, value]) => right.has(key) && sameMessage(value, right.get(key)));
}

function fieldsOf(message: object): Map<string, unknown> {
  return new Map(Object.entries(message).filter(([key, value]) => value !== undefined && !(key === "_unknownFields" && isEmpty(value))));
}

const isEmpty = (value: unknown) => typeof value === "object" && value !== null && Object.keys(value).length === 0;
