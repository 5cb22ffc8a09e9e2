/** What every writer of rights has in common: it gives no more than it has, and it answers when what was written counts. */
import { FailedPrecondition, PermissionDenied } from "../../lib/errors.ts";
import type { Rule } from "../auth/policy.ts";
import type { Rights } from "../auth/rights.ts";
import { metaOf, type Resource, storeKey } from "../kinds/kind.ts";
import { roles } from "../kinds/role.ts";
import type { Call } from "../objects.ts";
import type { ServiceParts } from "./service.ts";

export type RightsParts = ServiceParts & { rights: Rights };

export function refuseEscalation(rights: Rights, { caller }: Pick<Call, "caller">, given: { rules: readonly Rule[]; namespaces: readonly string[] }): void {
  const missing = rights.lacks(caller, given);
  if (!missing) return;
  const { verb, kind, namespace } = missing;
  const where = namespace === "" ? "everywhere" : `in namespace "${namespace}"`;
  throw new PermissionDenied(`"${caller.subject}" may not give the right to ${verb} ${kind} ${where}: it has not that right itself`, { reason: "ESCALATION" });
}

/** Throws FailedPrecondition for a role that there is not: whoever made one of that name later would decide what was given. */
export function rulesOfRole(rights: Rights, role: string): readonly Rule[] {
  const rules = rights.rulesOf(role);
  if (rules) return rules;
  throw new FailedPrecondition([{ type: "ROLE_NOT_FOUND", subject: storeKey(roles, { name: role }), message: `There is no role "${role}"` }]);
}

/** The same object, once it is part of every decision. */
export async function counted<T extends Resource>(rights: Rights, kind: Parameters<Rights["counts"]>[0], object: T, { validateOnly }: Call): Promise<T> {
  if (!validateOnly) await rights.counts(kind, metaOf(object).resourceVersion);
  return object;
}
