/** Namespaces, as tables show them. */
import { Namespace, NamespaceServiceDefinition } from "../../gen/drover/v1/namespace.ts";
import { ageColumn, nameColumn } from "./kind.ts";
import type { Kind } from "./kind.ts";

export const namespaces: Kind<Namespace> = {
  kind: "Namespace",
  namespaced: false,
  noun: "Namespace",
  nounPlural: "Namespaces",
  field: "namespace",
  listField: "namespaces",
  definition: NamespaceServiceDefinition,
  codec: Namespace,
  columns: [nameColumn, ageColumn],
};
