/** For kinds whose spec is fixed at creation. */
import { isDeepStrictEqual } from "node:util";
import type { Fault } from "../../lib/errors.ts";

export function unchangedSpec(before: { spec: unknown }, after: { spec: unknown }): Fault[] {
  return isDeepStrictEqual(before.spec, after.spec) ? [] : [{ path: "spec", message: "must not change: it is fixed at creation" }];
}
