/** What may not be deleted yet, and why. */
import { MigrationPhase } from "../../gen/drover/v1/migration.ts";
import type { VirtualMachineInstanceMigration } from "../../gen/drover/v1/migration.ts";
import type { Namespace } from "../../gen/drover/v1/namespace.ts";
import { NodeSessionState } from "../../gen/drover/v1/node.ts";
import type { Node } from "../../gen/drover/v1/node.ts";
import type { Volume } from "../../gen/drover/v1/volume.ts";
import { FailedPrecondition } from "../../lib/errors.ts";
import { type Key, type Kind, type Resource, storeKey } from "../kinds/kind.ts";
import { DEFAULT_NAMESPACE } from "../kinds/namespace.ts";
import { migrations, namespaces, nodes, virtualMachineInstances, virtualMachines, volumes } from "../kinds/table.ts";
import type { ServiceParts } from "./service.ts";

const OPEN: readonly MigrationPhase[] = [
  MigrationPhase.PENDING, MigrationPhase.SCHEDULING, MigrationPhase.PREPARING_TARGET, MigrationPhase.TARGET_READY, MigrationPhase.RUNNING,
  MigrationPhase.FINALIZING,
];

/** The record of an open move says what becomes of the machine. */
export async function checkMigrationEnded({ objects }: ServiceParts, key: Key): Promise<VirtualMachineInstanceMigration> {
  const migration = await objects.get(migrations, key);
  if (OPEN.includes(migration.status?.phase ?? MigrationPhase.UNSPECIFIED)) {
    throw refused(migrations, key, { type: "MIGRATION_OPEN", message: "the migration has not ended: cancel it first" });
  }
  return migration;
}

/** The holder's guest writes to the image; without the record another one could. */
export async function checkVolumeFree({ objects }: ServiceParts, key: Key): Promise<Volume> {
  const volume = await objects.get(volumes, key);
  const holder = volume.status?.holder;
  if (holder) throw refused(volumes, key, { type: "VOLUME_HELD", message: `it is held by "${holder.namespace}/${holder.name}"` });
  return volume;
}

export async function checkNodeEmpty({ objects }: ServiceParts, key: Key): Promise<Node> {
  const node = await objects.get(nodes, key);
  if (node.status?.session?.state === NodeSessionState.CONNECTED) {
    throw refused(nodes, key, { type: "NODE_CONNECTED", message: "its agent is connected: stop it first" });
  }
  const { items } = await objects.list(virtualMachineInstances, { fieldSelector: `status.node_name=${key.name}`, pageSize: 1 });
  const moving = await objects.list(virtualMachineInstances, { fieldSelector: `status.migration.target_node=${key.name}`, pageSize: 1 });
  const machine = items[0] ?? moving.items[0];
  if (!machine) return node;
  const name = `${machine.metadata?.namespace}/${machine.metadata?.name}`;
  throw refused(nodes, key, { type: "NODE_HAS_MACHINES", message: `the machine "${name}" is recorded there: stop it, or confirm the fence` });
}

export async function checkNamespaceEmpty({ objects, store }: ServiceParts, key: Key): Promise<Namespace> {
  if (key.name === DEFAULT_NAMESPACE) {
    throw refused(namespaces, key, { type: "NAMESPACE_PERMANENT", message: "the default namespace stays" });
  }
  const namespace = await objects.get(namespaces, key);
  for (const { plural } of [virtualMachines, virtualMachineInstances, migrations]) {
    const { items } = await store.list(`${plural}/${key.name}/`, { limit: 1 });
    if (items[0]) throw refused(namespaces, key, { type: "NAMESPACE_NOT_EMPTY", message: `there is "${items[0].key}" in it` });
  }
  return namespace;
}

function refused<T extends Resource>(kind: Kind<T>, key: Key, { type, message }: { type: string; message: string }): FailedPrecondition {
  const subject = storeKey(kind, key);
  return new FailedPrecondition([{ type, subject, message: `Cannot delete "${subject}": ${message}` }]);
}
