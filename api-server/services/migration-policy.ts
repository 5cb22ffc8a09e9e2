/** Migration policies as records. */
import type {
  CreateMigrationPolicyRequest, DeleteMigrationPolicyRequest, GetMigrationPolicyRequest, ListMigrationPoliciesRequest,
  UpdateMigrationPolicyRequest, WatchMigrationPoliciesRequest,
} from "../../gen/drover/v1/migration_policy.ts";
import { migrationPolicies } from "../kinds/table.ts";
import type { WithCall } from "../objects.ts";
import { crud } from "./crud.ts";
import type { ServiceParts } from "./service.ts";

export function migrationPolicyRecords(parts: ServiceParts) {
  const records = crud(migrationPolicies, parts);
  return {
    createMigrationPolicy: async (request: CreateMigrationPolicyRequest, { call }: WithCall) => ({
      migrationPolicy: await records.create(request.migrationPolicy, call),
    }),

    getMigrationPolicy: async (request: GetMigrationPolicyRequest) => ({ migrationPolicy: await records.get(request) }),

    async listMigrationPolicies(request: ListMigrationPoliciesRequest, { call }: WithCall) {
      const { items, ...page } = await records.list(request, call);
      return { ...page, migrationPolicies: items };
    },

    watchMigrationPolicies: (request: WatchMigrationPoliciesRequest, { call }: WithCall) =>
      records.watch(request, call, (migrationPolicy, reason) => ({ migrationPolicy, reason })),

    updateMigrationPolicy: async (request: UpdateMigrationPolicyRequest, { call }: WithCall) => ({
      migrationPolicy: await records.update(request.migrationPolicy, request, call),
    }),

    deleteMigrationPolicy: async (request: DeleteMigrationPolicyRequest, { call }: WithCall) => ({
      migrationPolicy: await records.remove(request, call),
    }),
  };
}
