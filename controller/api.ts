/** The kinds as the API serves them: one page, one watch each, put into one form; and the clients to write with. */
import type { DeletedVirtualMachineInstanceMigration } from "../gen/drover/v1/migration.ts";
import type { DeletedMigrationPolicy } from "../gen/drover/v1/migration_policy.ts";
import type { DeletedNamespace } from "../gen/drover/v1/namespace.ts";
import type { DeletedNode } from "../gen/drover/v1/node.ts";
import type { DeletedVirtualMachine } from "../gen/drover/v1/virtual_machine.ts";
import type { DeletedVirtualMachineInstance } from "../gen/drover/v1/virtual_machine_instance.ts";
import type { DeletedVolume } from "../gen/drover/v1/volume.ts";
import type { Connection } from "../lib/client.ts";
import { ControlEventServiceDefinition } from "../gen/drover/control/v1/events.ts";
import { EventServiceDefinition } from "../gen/drover/v1/event.ts";
import type { Bookmark } from "../gen/drover/v1/meta.ts";
import {
  ListVirtualMachineInstanceMigrationsRequest,
  MigrationServiceDefinition,
  WatchVirtualMachineInstanceMigrationsRequest,
} from "../gen/drover/v1/migration.ts";
import { ListMigrationPoliciesRequest, MigrationPolicyServiceDefinition, WatchMigrationPoliciesRequest } from "../gen/drover/v1/migration_policy.ts";
import { ListNamespacesRequest, NamespaceServiceDefinition, WatchNamespacesRequest } from "../gen/drover/v1/namespace.ts";
import { ListNodesRequest, NodeServiceDefinition, WatchNodesRequest } from "../gen/drover/v1/node.ts";
import { ListVirtualMachinesRequest, VirtualMachineServiceDefinition, WatchVirtualMachinesRequest } from "../gen/drover/v1/virtual_machine.ts";
import {
  ListVirtualMachineInstancesRequest,
  VirtualMachineInstanceServiceDefinition,
  WatchVirtualMachineInstancesRequest,
} from "../gen/drover/v1/virtual_machine_instance.ts";
import { ListVolumesRequest, VolumeServiceDefinition, WatchVolumesRequest } from "../gen/drover/v1/volume.ts";
import type { Change } from "./cache.ts";
import type { Page, Source } from "./informer.ts";
import { instanceOf, machineOf, migrationOf, nodeOf, volumeOf, withMetadata } from "./objects.ts";
import type { Instance, Machine, Migration, NamespaceRecord, NodeRecord, Policy, VolumeRecord } from "./objects.ts";

const PAGE_SIZE = 500;

export function clientsOn(connection: Connection) {
  return {
    machines: connection.client(VirtualMachineServiceDefinition),
    instances: connection.client(VirtualMachineInstanceServiceDefinition),
    migrations: connection.client(MigrationServiceDefinition),
    policies: connection.client(MigrationPolicyServiceDefinition),
    namespaces: connection.client(NamespaceServiceDefinition),
    nodes: connection.client(NodeServiceDefinition),
    volumes: connection.client(VolumeServiceDefinition),
    events: connection.client(EventServiceDefinition),
    controlEvents: connection.client(ControlEventServiceDefinition),
  };
}

export type Clients = ReturnType<typeof clientsOn>;

export const machinesOf = ({ machines }: Clients): Source<Machine> => ({
  kind: "VirtualMachine",
  async page(pageToken, signal) {
    const answer = await machines.listVirtualMachines(ListVirtualMachinesRequest.create({ pageSize: PAGE_SIZE, pageToken }), { signal });
    return pageOf(answer, parsed(answer.virtualMachines, machineOf));
  },
  watch: (fromRevision, signal) =>
    changes(
      machines.watchVirtualMachines(WatchVirtualMachinesRequest.create({ fromRevision }), { signal }),
      machineOf,
      ({ virtualMachine }: DeletedVirtualMachine) => virtualMachine,
    ),
});

export const instancesOf = ({ instances }: Clients): Source<Instance> => ({
  kind: "VirtualMachineInstance",
  async page(pageToken, signal) {
    const answer = await instances.listVirtualMachineInstances(ListVirtualMachineInstancesRequest.create({ pageSize: PAGE_SIZE, pageToken }), { signal });
    return pageOf(answer, parsed(answer.virtualMachineInstances, instanceOf));
  },
  watch: (fromRevision, signal) =>
    changes(
      instances.watchVirtualMachineInstances(WatchVirtualMachineInstancesRequest.create({ fromRevision }), { signal }),
      instanceOf,
      ({ virtualMachineInstance }: DeletedVirtualMachineInstance) => virtualMachineInstance,
    ),
});

export const migrationsOf = ({ migrations }: Clients): Source<Migration> => ({
  kind: "VirtualMachineInstanceMigration",
  async page(pageToken, signal) {
    const request = ListVirtualMachineInstanceMigrationsRequest.create({ pageSize: PAGE_SIZE, pageToken });
    const answer = await migrations.listVirtualMachineInstanceMigrations(request, { signal });
    return pageOf(answer, parsed(answer.migrations, migrationOf));
  },
  watch: (fromRevision, signal) =>
    changes(
      migrations.watchVirtualMachineInstanceMigrations(WatchVirtualMachineInstanceMigrationsRequest.create({ fromRevision }), { signal }),
      migrationOf,
      ({ migration }: DeletedVirtualMachineInstanceMigration) => migration,
    ),
});

export const policiesOf = ({ policies }: Clients): Source<Policy> => ({
  kind: "MigrationPolicy",
  async page(pageToken, signal) {
    const answer = await policies.listMigrationPolicies(ListMigrationPoliciesRequest.create({ pageSize: PAGE_SIZE, pageToken }), { signal });
    return pageOf(answer, parsed(answer.migrationPolicies, withMetadata));
  },
  watch: (fromRevision, signal) =>
    changes(
      policies.watchMigrationPolicies(WatchMigrationPoliciesRequest.create({ fromRevision }), { signal }),
      withMetadata,
      ({ migrationPolicy }: DeletedMigrationPolicy) => migrationPolicy,
    ),
});

export const namespacesOf = ({ namespaces }: Clients): Source<NamespaceRecord> => ({
  kind: "Namespace",
  async page(pageToken, signal) {
    const answer = await namespaces.listNamespaces(ListNamespacesRequest.create({ pageSize: PAGE_SIZE, pageToken }), { signal });
    return pageOf(answer, parsed(answer.namespaces, withMetadata));
  },
  watch: (fromRevision, signal) =>
    changes(
      namespaces.watchNamespaces(WatchNamespacesRequest.create({ fromRevision }), { signal }),
      withMetadata,
      ({ namespace }: DeletedNamespace) => namespace,
    ),
});

export const nodesOf = ({ nodes }: Clients): Source<NodeRecord> => ({
  kind: "Node",
  async page(pageToken, signal) {
    const answer = await nodes.listNodes(ListNodesRequest.create({ pageSize: PAGE_SIZE, pageToken }), { signal });
    return pageOf(answer, parsed(answer.nodes, nodeOf));
  },
  watch: (fromRevision, signal) =>
    changes(
      nodes.watchNodes(WatchNodesRequest.create({ fromRevision }), { signal }),
      nodeOf,
      ({ node }: DeletedNode) => node,
    ),
});

export const volumesOf = ({ volumes }: Clients): Source<VolumeRecord> => ({
  kind: "Volume",
  async page(pageToken, signal) {
    const answer = await volumes.listVolumes(ListVolumesRequest.create({ pageSize: PAGE_SIZE, pageToken }), { signal });
    return pageOf(answer, parsed(answer.volumes, volumeOf));
  },
  watch: (fromRevision, signal) =>
    changes(
      volumes.watchVolumes(WatchVolumesRequest.create({ fromRevision }), { signal }),
      volumeOf,
      ({ volume }: DeletedVolume) => volume,
    ),
});

function pageOf<T>({ nextPageToken, revision }: { nextPageToken: string; revision: string }, objects: T[]): Page<T> {
  return { objects, nextPageToken, revision };
}

const parsed = <O, T>(objects: readonly O[], parse: (object: O) => T | undefined): T[] =>
  objects.map(parse).filter((object) => object !== undefined);

type Message<O, D> = {
  event?: { $case: "added"; value: O } | { $case: "modified"; value: O } | { $case: "deleted"; value: D } | { $case: "bookmark"; value: Bookmark } | undefined;
  revision: string;
};

/** A message of a newer server whose meaning is unknown still tells how far the watch has come. */
async function* changes<O, D, T>(
  messages: AsyncIterable<Message<O, D>>,
  parse: (object: O) => T | undefined,
  left: (deleted: D) => O | undefined,
): AsyncIterable<Change<T>> {
  for await (const { event, revision } of messages) {
    yield changeOf(event, revision, { parse, left });
  }
}

function changeOf<O, D, T>(
  event: Message<O, D>["event"],
  revision: string,
  { parse, left }: { parse: (object: O) => T | undefined; left: (deleted: D) => O | undefined },
): Change<T> {
  const gone = event?.$case === "deleted";
  const raw = event === undefined || event.$case === "bookmark" ? undefined : event.$case === "deleted" ? left(event.value) : event.value;
  const object = raw && parse(raw);
  if (!object) return { type: "bookmark", revision };
  return { type: gone ? "gone" : "put", object, revision };
}
