/** Migrations as records. One is made under the same conditions whether by name or by the Migrate verb. */
import type {
  CreateVirtualMachineInstanceMigrationRequest, DeleteVirtualMachineInstanceMigrationRequest, GetVirtualMachineInstanceMigrationRequest,
  ListVirtualMachineInstanceMigrationsRequest, UpdateVirtualMachineInstanceMigrationStatusRequest,
  WatchVirtualMachineInstanceMigrationsRequest,
} from "../../gen/drover/v1/migration.ts";
import { migrations } from "../kinds/table.ts";
import type { WithCall } from "../objects.ts";
import { crud } from "./crud.ts";
import { admitMigration } from "./migration-admission.ts";
import type { AdmissionParts } from "./migration-admission.ts";
import { checkMigrationEnded } from "./deletion.ts";
import type { ServiceParts } from "./service.ts";

export function migrationRecords(parts: ServiceParts & AdmissionParts) {
  const records = crud(migrations, parts);
  return {
    async createVirtualMachineInstanceMigration({ migration }: CreateVirtualMachineInstanceMigrationRequest, { call }: WithCall) {
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

    watchVirtualMachineInstanceMigrations: (request: WatchVirtualMachineInstanceMigrationsRequest, { call }: WithCall) =>
      records.watch(request, call, (migration, reason) => ({ migration, reason })),

    updateVirtualMachineInstanceMigrationStatus: async (request: UpdateVirtualMachineInstanceMigrationStatusRequest, { call }: WithCall) => ({
      migration: await records.updateStatus(request.migration, call),
    }),

    deleteVirtualMachineInstanceMigration: async (request: DeleteVirtualMachineInstanceMigrationRequest, { call }: WithCall) => {
      return { migration: await records.remove(request, call, () => checkMigrationEnded(parts, request)) };
    },
  };
}
