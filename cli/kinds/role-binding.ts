/** Role bindings, as tables show them. */
import { RoleBinding, RoleBindingServiceDefinition, SubjectKind } from "../../gen/drover/v1/role_binding.ts";
import { ageColumn, nameColumn, word } from "./kind.ts";
import type { Kind } from "./kind.ts";

export const roleBindings: Kind<RoleBinding> = {
  kind: "RoleBinding",
  namespaced: false,
  noun: "RoleBinding",
  nounPlural: "RoleBindings",
  field: "roleBinding",
  listField: "roleBindings",
  definition: RoleBindingServiceDefinition,
  codec: RoleBinding,
  columns: [
    nameColumn,
    { title: "ROLE", cell: ({ spec }) => spec?.role ?? "" },
    { title: "SUBJECTS", cell: ({ spec }) => (spec?.subjects ?? []).map(({ kind, name }) => `${word(SubjectKind, kind)}/${name}`).join(",") },
    { title: "NAMESPACES", cell: ({ spec }) => spec?.namespaces.join(",") || "(all)" },
    ageColumn,
  ],
};
