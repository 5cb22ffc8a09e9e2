/** Migration policies, as tables show them. */
import { MigrationPolicy, MigrationPolicyServiceDefinition } from "../../gen/drover/v1/migration_policy.ts";
import { MigrationTimeoutAction } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { ageColumn, nameColumn, word } from "./kind.ts";
import type { Kind } from "./kind.ts";

const labelsOf = (labels: Record<string, string> | undefined): string => Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`).join(",");
const said = (value: boolean | number | string | undefined): string => (value === undefined ? "" : String(value));

export const migrationPolicies: Kind<MigrationPolicy> = {
  kind: "MigrationPolicy",
  namespaced: false,
  noun: "MigrationPolicy",
  nounPlural: "MigrationPolicies",
  field: "migrationPolicy",
  listField: "migrationPolicies",
  definition: MigrationPolicyServiceDefinition,
  codec: MigrationPolicy,
  columns: [
    nameColumn,
    { title: "MACHINES", cell: ({ spec }) => labelsOf(spec?.selectors?.virtualMachineInstanceSelector) },
    { title: "NAMESPACES", cell: ({ spec }) => labelsOf(spec?.selectors?.namespaceSelector) },
    { title: "BANDWIDTH", cell: ({ spec }) => said(spec?.bandwidthPerMigration) },
    { title: "ON-TIMEOUT", cell: ({ spec }) => word(MigrationTimeoutAction, spec?.timeoutAction) },
    ageColumn,
    { title: "AUTO-CONVERGE", wide: true, cell: ({ spec }) => said(spec?.allowAutoConverge) },
    { title: "POST-COPY", wide: true, cell: ({ spec }) => said(spec?.allowPostCopy) },
    { title: "DOWNTIME-MS", wide: true, cell: ({ spec }) => said(spec?.maxDowntimeMs) },
    { title: "CONNECTIONS", wide: true, cell: ({ spec }) => said(spec?.parallelConnections) },
  ],
};
