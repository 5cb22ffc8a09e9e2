/** What is done to a migration besides reading it. */
import type { MigrationServiceImplementation } from "../../gen/drover/v1/migration.ts";
import { migrations } from "../kinds/migration.ts";
import { virtualMachineInstances } from "../kinds/virtual-machine-instance.ts";
import type { Objects, WithCall } from "../objects.ts";
import { cancelMigration } from "../subresources/migrate.ts";

type Verbs = Pick<MigrationServiceImplementation<WithCall>, "cancelMigration">;

export function migrationVerbs({ objects }: { objects: Objects }): Verbs {
  return {
    async cancelMigration(request, { call }) {
      const key = { namespace: request.namespace || "default", name: request.name };
      const found = await objects.get(migrations, key);
      const instance = await objects.find(virtualMachineInstances, { namespace: key.namespace, name: found.spec!.vmiName });
      return { migration: await objects.change(migrations, key, (migration) => cancelMigration(migration, instance), call) };
    },
  };
}
