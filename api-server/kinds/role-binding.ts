/** Who has a role, and where. */
import { RoleBinding } from "../../gen/drover/v1/role_binding.ts";
import { type Kind, metaOf } from "./kind.ts";
import { dnsLabel, validateMeta } from "./names.ts";

export const roleBindings: Kind<RoleBinding> = {
  name: "RoleBinding",
  plural: "rolebindings",
  field: "role_binding",
  typeName: "drover.v1.RoleBinding",
  namespaced: false,
  codec: RoleBinding,
  defaults: (binding) => binding,
  withoutStatus: (binding) => binding,
  validate: (binding) => [
    ...validateMeta(metaOf(binding), roleBindings),
    ...(binding.spec?.namespaces ?? []).flatMap((namespace, i) => dnsLabel(`spec.namespaces[${i}]`, namespace)),
  ],
  validateChange: () => [],
};
