/** How the migrations of some machines converge. */
import { MigrationPolicy } from "../../gen/drover/v1/migration_policy.ts";
import type { MigrationPolicySelectors } from "../../gen/drover/v1/migration_policy.ts";
import type { Fault } from "../../lib/errors.ts";
import { type Kind, metaOf } from "./kind.ts";
import { validateSettings } from "./migration-settings.ts";
import { labels, validateMeta } from "./names.ts";

export const migrationPolicies: Kind<MigrationPolicy> = {
  name: "MigrationPolicy",
  plural: "migrationpolicies",
  field: "migration_policy",
  typeName: "drover.v1.MigrationPolicy",
  namespaced: false,
  codec: MigrationPolicy,
  defaults: (policy) => policy,
  withoutStatus: (policy) => policy,
  validate: (policy) => [
    ...validateMeta(metaOf(policy), migrationPolicies),
    ...(policy.spec?.selectors ? validateSelectors(policy.spec.selectors) : []),
    ...(policy.spec ? validateSettings("spec", policy.spec) : []),
  ],
  validateChange: () => [],
};

function validateSelectors({ namespaceSelector, virtualMachineInstanceSelector }: MigrationPolicySelectors): Fault[] {
  const empty = Object.keys(namespaceSelector).length + Object.keys(virtualMachineInstanceSelector).length === 0;
  return [
    ...(empty ? [{ path: "spec.selectors", message: "must name at least one label: what holds for every machine is the controller's configuration" }] : []),
    ...labels("spec.selectors.namespace_selector", namespaceSelector),
    ...labels("spec.selectors.virtual_machine_instance_selector", virtualMachineInstanceSelector),
  ];
}
