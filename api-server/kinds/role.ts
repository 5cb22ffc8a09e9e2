/** What may be done. A rule may only speak of verbs and kinds that there are, so that a slip of the hand does not allow nothing. */
import { Role } from "../../gen/drover/v1/role.ts";
import type { PolicyRule } from "../../gen/drover/v1/role.ts";
import type { Fault } from "../../lib/errors.ts";
import { VERBS_OF_KINDS } from "../interceptors/roles.ts";
import { type Kind, metaOf } from "./kind.ts";
import { validateMeta } from "./names.ts";

const ANY = "*";

export const roles: Kind<Role> = {
  name: "Role",
  plural: "roles",
  field: "role",
  typeName: "drover.v1.Role",
  namespaced: false,
  codec: Role,
  defaults: (role) => role,
  withoutStatus: (role) => role,
  validate: (role) => [
    ...validateMeta(metaOf(role), roles),
    ...(role.spec?.rules ?? []).flatMap((rule, i) => validateRule(`spec.rules[${i}]`, rule)),
  ],
  validateChange: () => [],
};

function validateRule(path: string, { verbs, kinds }: PolicyRule): Fault[] {
  const known = [...VERBS_OF_KINDS.keys()];
  const meant = kinds.includes(ANY) ? known : kinds;
  const possible = new Set([ANY, ...meant.flatMap((kind) => [...(VERBS_OF_KINDS.get(kind) ?? [])])]);
  return [
    ...kinds.flatMap((kind, i) => (kind === ANY || VERBS_OF_KINDS.has(kind) ? [] : [unknown(`${path}.kinds[${i}]`, kind, [ANY, ...known])])),
    ...verbs.flatMap((verb, i) => (possible.has(verb) ? [] : [unknown(`${path}.verbs[${i}]`, verb, [...possible])])),
  ];
}

const unknown = (path: string, given: string, allowed: readonly string[]): Fault => ({
  path,
  message: `must be one of ${allowed.join(", ")}: current value is ${JSON.stringify(given.slice(0, 64))}`,
});
