/** Migrations, as tables show them. */
import {
  CancelOutcome, MigrationOutcome, MigrationPhase, MigrationReason, MigrationServiceDefinition, VirtualMachineInstanceMigration,
} from "../../gen/drover/v1/migration.ts";
import { ageColumn, nameColumn, word } from "./kind.ts";
import type { Kind } from "./kind.ts";

export const migrations: Kind<VirtualMachineInstanceMigration> = {
  kind: "VirtualMachineInstanceMigration",
  namespaced: true,
  noun: "VirtualMachineInstanceMigration",
  nounPlural: "VirtualMachineInstanceMigrations",
  field: "migration",
  listField: "migrations",
  definition: MigrationServiceDefinition,
  codec: VirtualMachineInstanceMigration,
  columns: [
    nameColumn,
    { title: "VMI", cell: ({ spec }) => spec?.vmiName ?? "" },
    { title: "PHASE", cell: ({ status }) => (status?.outcome === MigrationOutcome.UNKNOWN ? "Unknown" : word(MigrationPhase, status?.phase)) },
    { title: "SOURCE", cell: ({ status }) => status?.sourceNode ?? "" },
    { title: "TARGET", cell: ({ spec, status }) => status?.targetNode || spec?.targetNode || "" },
    { title: "REASON", cell: ({ status }) => word(MigrationReason, status?.reason) },
    ageColumn,
    { title: "DOWNTIME", wide: true, cell: ({ status }) => (status?.progress ? `${status.progress.downtimeMs}ms` : "") },
    { title: "CANCEL", wide: true, cell: ({ status }) => word(CancelOutcome, status?.cancelOutcome) },
    { title: "WAITING-FOR", wide: true, cell: ({ status }) => status?.waitingFor.join("; ") ?? "" },
    { title: "MESSAGE", wide: true, cell: ({ status }) => status?.message ?? "" },
  ],
};
