/** Roles, as tables show them. */
import { Role, RoleServiceDefinition } from "../../gen/drover/v1/role.ts";
import { ageColumn, nameColumn } from "./kind.ts";
import type { Kind } from "./kind.ts";

export const roles: Kind<Role> = {
  kind: "Role",
  namespaced: false,
  noun: "Role",
  nounPlural: "Roles",
  field: "role",
  listField: "roles",
  definition: RoleServiceDefinition,
  codec: Role,
  columns: [
    nameColumn,
    { title: "RULES", cell: ({ spec }) => String(spec?.rules.length ?? 0) },
    ageColumn,
    { title: "ALLOWS", wide: true, cell: ({ spec }) => (spec?.rules ?? []).map(({ verbs, kinds }) => `${verbs.join(",")} ${kinds.join(",")}`).join("; ") },
  ],
};
