/** What is done to a migration besides reading it. */
import type { MigrationServiceImplementation } from "../../gen/drover/v1/migration.ts";
import { migrations } from "../kinds/migration.ts";
import { virtualMachineInstances } from "../kinds/virtual-machine-instance.ts";
import type { WithCall } from "../objects.ts";
import { cancelMigration } from "../subresources/migrate.ts";
import { checkMove } from "./migration-check.ts";
import type { CheckParts } from "./migration-check.ts";

type Verbs = Pick<MigrationServiceImplementation<WithCall>, "cancelMigration" | "checkMigration">;

export function migrationVerbs(parts: CheckParts): Verbs {
  const { objects } = parts;
  return {
    checkMigration: (request) => checkMove(parts, request),
    async cancelMigration(request, { call }) {
      const key = { namespace: request.namespace || "default", name: request.name };
      const found = await objects.get(migrations, key);
      const instance = await objects.find(virtualMachineInstances, { namespace: key.namespace, name: found.spec!.vmiName });
      return { migration: await objects.change(migrations, key, (migration) => cancelMigration(migration, instance), call) };
    },
  };
}
