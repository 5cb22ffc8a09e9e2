/** Migrations as records. One is made under the same conditions whether by name or by the Migrate verb. */
import type {
  CreateVirtualMachineInstanceMigrationRequest, DeleteVirtualMachineInstanceMigrationRequest, GetVirtualMachineInstanceMigrationRequest,
  ListVirtualMachineInstanceMigrationsRequest, UpdateVirtualMachineInstanceMigrationStatusRequest,
  WatchVirtualMachineInstanceMigrationsRequest,
} from "../../gen/drover/v1/migration.ts";
import { MigrationPriority } from "../../gen/drover/v1/migration.ts";
import { PermissionDenied } from "../../lib/errors.ts";
import { migrations } from "../kinds/table.ts";
import type { Caller, WithCall } from "../objects.ts";
import { crud } from "./crud.ts";
import { admitMigration } from "./migration-admission.ts";
import type { AdmissionParts } from "./migration-admission.ts";
import type { LiveProgress } from "../sessions/live-progress.ts";
import { checkMigrationEnded } from "./deletion.ts";
import { withLiveProgress } from "./live-watch.ts";
import type { ServiceParts } from "./service.ts";

export function migrationRecords(parts: ServiceParts & AdmissionParts & { live: LiveProgress }) {
  const records = crud(migrations, parts);
  return {
    async createVirtualMachineInstanceMigration({ migration }: CreateVirtualMachineInstanceMigrationRequest, { call }: WithCall) {
      checkPriority(migration?.spec?.priority, call.caller);
      // Without a machine to ask about there is nothing to admit, and the faults are all there is to say.
      if (!migration?.metadata?.name || !migration.spec?.vmiName) return { migration: await records.create(migration, call) };
      return { migration: await admitMigration(parts, migration, call) };
    },

    getVirtualMachineInstanceMigration: async (request: GetVirtualMachineInstanceMigrationRequest) => ({
      migration: await records.get(request),
    }),

    async listVirtualMachineInstanceMigrations(request: ListVirtualMachineInstanceMigrationsRequest, { call }: WithCall) {
      const { items, ...page } = await records.list(request, call);
      return { ...page, migrations: items };
    },

    watchVirtualMachineInstanceMigrations(request: WatchVirtualMachineInstanceMigrationsRequest, { call }: WithCall) {
      const messages = records.watch(request, call, (migration, reason) => ({ migration, reason }));
      // The controller decides nothing by figures.
      return call.caller.role === "control-plane" ? messages : withLiveProgress(messages, parts.live);
    },

    updateVirtualMachineInstanceMigrationStatus: async (request: UpdateVirtualMachineInstanceMigrationStatusRequest, { call }: WithCall) => ({
      migration: await records.updateStatus(request.migration, call),
    }),

    deleteVirtualMachineInstanceMigration: async (request: DeleteVirtualMachineInstanceMigrationRequest, { call }: WithCall) => {
      return { migration: await records.remove(request, call, () => checkMigrationEnded(parts, request)) };
    },
  };
}

/** Whoever may move machines of one namespace does not decide that all others wait. */
function checkPriority(priority: MigrationPriority | undefined, { role, subject }: Caller): void {
  if (priority !== MigrationPriority.SYSTEM_CRITICAL || role !== "user") return;
  throw new PermissionDenied(`"${subject}" may not ask for SYSTEM_CRITICAL: allowed are USER and SYSTEM_MAINTENANCE`, { reason: "PRIORITY_RESERVED" });
}
