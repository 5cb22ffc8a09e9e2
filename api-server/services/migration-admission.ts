/** Reads what the admission of a migration depends on, and records the migration or says all that stands in its way. */
import type { VirtualMachineInstanceMigration } from "../../gen/drover/v1/migration.ts";
import type { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { FailedPrecondition, NotFound } from "../../lib/errors.ts";
import type { ApiError } from "../../lib/errors.ts";
import { migrations } from "../kinds/migration.ts";
import { nodes } from "../kinds/node.ts";
import { virtualMachineInstances } from "../kinds/virtual-machine-instance.ts";
import { virtualMachines } from "../kinds/virtual-machine.ts";
import { loadsOf } from "../../lib/preflight/load.ts";
import type { Call, Objects } from "../objects.ts";
import type { Assignments } from "../sessions/assignments.ts";
import { isOpen, migrationPreconditions } from "../subresources/migrate.ts";
import { precondition, VM, VMI } from "../subresources/refusal.ts";

export type AdmissionParts = { objects: Objects; assignments: Pick<Assignments, "concerning"> };

/** Creates the migration unless something forbids it. A repeat gets the first answer, whatever has changed since. */
export async function admitMigration(
  { objects, assignments }: AdmissionParts,
  migration: VirtualMachineInstanceMigration,
  call: Call,
): Promise<VirtualMachineInstanceMigration> {
  const replayed = await objects.replayed(migrations, call);
  if (replayed) return replayed;
  // What is not well formed is refused as that, whatever there is or is not to be moved.
  await objects.create(migrations, migration, { ...call, requestId: "", repeatable: false, validateOnly: true });
  const namespace = migration.metadata!.namespace || "default";
  const spec = migration.spec!;
  const key = { namespace, name: spec.vmiName };
  const [vm, instance] = await Promise.all([objects.find(virtualMachines, key), objects.find(virtualMachineInstances, key)]);
  if (!instance) throw missingRun(vm, key);
  const [open, sourceNode, targetNode] = await Promise.all([
    openMigrations(objects, key),
    nodeOf(objects, instance.status?.nodeName ?? ""),
    nodeOf(objects, spec.targetNode),
  ]);
  const others = assignments.concerning(spec.targetNode).filter(({ metadata }) => metadata!.uid !== instance.metadata!.uid);
  const targetLoad = loadsOf(others)(spec.targetNode);
  const found = migrationPreconditions({ spec, vm, instance, open, sourceNode, targetNode, targetLoad });
  if (found.length > 0) throw new FailedPrecondition(found);
  return objects.create(migrations, migration, call);
}

/** There is nothing to move: no such machine, or one that is off. */
export function missingRun(vm: VirtualMachine | undefined, { namespace, name }: { namespace: string; name: string }): ApiError {
  if (!vm) return new NotFound(`${VMI}/${namespace}/${name}`);
  return new FailedPrecondition([precondition("NOT_RUNNING", { plural: VM, object: vm }, "The machine has no run")]);
}

const nodeOf = (objects: Objects, name: string) => (name === "" ? undefined : objects.find(nodes, { name }));

/** Of the instance of that name. */
export async function openMigrations(objects: Objects, { namespace, name }: { namespace: string; name: string }): Promise<VirtualMachineInstanceMigration[]> {
  const page = await objects.list(migrations, { namespace, fieldSelector: `spec.vmi_name=${name}` });
  return page.items.filter(isOpen);
}
