/** Faults of a whole request. The object that it carries is checked apart, complete with its defaults. */
import type { Fault } from "../../lib/errors.ts";
import type { FieldRules } from "./field-rules.ts";

export type RequestShape = {
  typeName: string;
  encode(request: unknown): Uint8Array;
  /** The request's object, where it has one: its field's proto name and its key in the decoded message. */
  object?: { field: string; key: string };
};

export function requestFaults(rules: FieldRules, shape: RequestShape, request: Record<string, unknown>): Fault[] {
  const { object } = shape;
  const hasObject = object !== undefined && request[object.key] !== undefined;
  const checked = hasObject ? { ...request, [object.key]: undefined } : request;
  const faults = rules.check(shape.typeName, shape.encode(checked));
  return hasObject ? faults.filter(({ path }) => path !== object.field) : faults;
}
