/** The rule for kinds whose spec is fixed at creation. Pure. */
import type { Fault } from "../../lib/errors.ts";
import { sameMessage } from "../../lib/same.ts";

export function unchangedSpec(before: { spec: unknown }, after: { spec: unknown }): Fault[] {
  return sameMessage(before.spec, after.spec) ? [] : [{ path: "spec", message: "must not change: it is fixed at creation" }];
}
