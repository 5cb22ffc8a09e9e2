/** Migrations, as tables show them. */
import {
  CancelOutcome, MigrationOutcome, MigrationPhase, MigrationPriority, MigrationReason, MigrationServiceDefinition, VirtualMachineInstanceMigration,
} from "../../gen/drover/v1/migration.ts";
import { age, ageColumn, nameColumn, word } from "./kind.ts";
import type { Kind } from "./kind.ts";

/** "2m10s", "soon" when that is past already; empty when nobody can tell. */
export function expectedIn(start: Date | undefined, now: Date): string {
  if (!start) return "";
  return start <= now ? "soon" : age(now, start);
}

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
    { title: "PRIORITY", wide: true, cell: ({ spec }) => word(MigrationPriority, spec?.priority) },
    { title: "PLACE", wide: true, cell: ({ status }) => (status?.queuePosition ? String(status.queuePosition) : "") },
    { title: "EXPECTED-IN", wide: true, cell: ({ status }, now) => expectedIn(status?.expectedStartTime, now) },
    { title: "DOWNTIME", wide: true, cell: ({ status }) => (status?.progress ? `${status.progress.downtimeMs}ms` : "") },
    { title: "CANCEL", wide: true, cell: ({ status }) => word(CancelOutcome, status?.cancelOutcome) },
    { title: "WAITING-FOR", wide: true, cell: ({ status }) => status?.waitingFor.join("; ") ?? "" },
    { title: "MESSAGE", wide: true, cell: ({ status }) => status?.message ?? "" },
  ],
};
