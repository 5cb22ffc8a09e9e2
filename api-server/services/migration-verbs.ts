/** What is done to a migration besides reading it. */
import type { MigrationServiceImplementation } from "../../gen/drover/v1/migration.ts";
import type { VirtualMachineInstanceMigration } from "../../gen/drover/v1/migration.ts";
import { NotFound } from "../../lib/errors.ts";
import { migrations } from "../kinds/migration.ts";
import { virtualMachineInstances } from "../kinds/virtual-machine-instance.ts";
import type { Call, Key, Objects, WithCall } from "../objects.ts";
import { cancelMigration, cancelOutcomeOf, withCancelOutcome, withdrawn } from "../subresources/migrate.ts";
import { checkMove } from "./migration-check.ts";
import type { CheckParts } from "./migration-check.ts";

type Verbs = Pick<MigrationServiceImplementation<WithCall>, "cancelMigration" | "checkMigration">;

export function migrationVerbs(parts: CheckParts): Verbs {
  const { objects } = parts;
  return {
    checkMigration: (request) => checkMove(parts, request),
    async cancelMigration(request, { call }) {
      const replayed = await objects.replayed(migrations, call);
      return { migration: replayed ?? (await cancelMigrationOf(objects, { namespace: request.namespace || "default", name: request.name }, call)) };
    },
  };
}

/**
 * First the wish is recorded, then the machine's record is looked at: either the source's word that it begins is there, or
 * it is refused from now on, for the migration as it is entered and for one that is entered later.
 */
export async function cancelMigrationOf(objects: Objects, key: Required<Key>, call: Call): Promise<VirtualMachineInstanceMigration> {
  const { spec } = await objects.get(migrations, key);
  const machine = { namespace: key.namespace, name: spec!.vmiName };
  const before = await objects.find(virtualMachineInstances, machine);
  const { trail: _trail, ...untold } = call;
  const asked = await objects.change(migrations, key, (migration) => cancelMigration(migration, before), call.validateOnly ? call : { ...call, ...UNJOURNALED });
  if (call.validateOnly) return asked;
  const { uid } = asked.metadata!;
  const instance = before && (await objects.change(virtualMachineInstances, machine, (found) => withdrawn(found, uid), { ...untold, ...UNJOURNALED }).catch(unlessGone));
  const outcome = cancelOutcomeOf(asked, instance);
  return objects.change(migrations, key, (migration) => withCancelOutcome(migration, outcome), untold);
}

/** A step of a call, whose id stands for the whole. */
export const UNJOURNALED = { requestId: "", repeatable: false };

function unlessGone(error: unknown): undefined {
  if (!(error instanceof NotFound)) throw error;
}
