/** Writes the built-in roles down, so that they are listed like every other; what they allow is `built-in-roles.ts`. */
import { Role } from "../../gen/drover/v1/role.ts";
import { roles } from "../kinds/role.ts";
import { sameMessage } from "../../lib/same.ts";
import type { Call, Objects } from "../objects.ts";
import { BUILT_IN_ROLES } from "./built-in-roles.ts";

export async function recordBuiltInRoles(objects: Objects, call: Call): Promise<void> {
  for (const [name, rules] of BUILT_IN_ROLES) {
    const { spec } = Role.create({ metadata: { name }, spec: { rules: rules.map(({ verbs, kinds, names }) => ({ verbs: [...verbs], kinds: [...kinds], names: [...names] })) } });
    if (!(await objects.find(roles, { name }))) await objects.create(roles, Role.create({ metadata: { name }, spec: spec! }), call);
    else await objects.change(roles, { name }, (stored) => (sameMessage(stored.spec, spec) ? undefined : { ...stored, spec }), call);
  }
}
