/**
 * The records as the controller holds them: parsed once at the edge, so that no decision has to ask whether the metadata,
 * the spec or the status is there. The parts that a message lacks are added; nothing that it has is dropped.
 */
import type { ObjectMeta } from "../gen/drover/v1/meta.ts";
import { VirtualMachineInstanceMigrationStatus } from "../gen/drover/v1/migration.ts";
import type { VirtualMachineInstanceMigration, VirtualMachineInstanceMigrationSpec } from "../gen/drover/v1/migration.ts";
import type { MigrationPolicy } from "../gen/drover/v1/migration_policy.ts";
import type { Namespace } from "../gen/drover/v1/namespace.ts";
import { NodeSpec, NodeStatus } from "../gen/drover/v1/node.ts";
import type { Node } from "../gen/drover/v1/node.ts";
import { VirtualMachineStatus } from "../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachine, VirtualMachineInstanceTemplate, VirtualMachineSpec } from "../gen/drover/v1/virtual_machine.ts";
import { VirtualMachineInstanceStatus } from "../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../gen/drover/v1/virtual_machine_instance.ts";
import type { DomainSpec, MemorySpec, VirtualMachineInstanceSpec } from "../gen/drover/v1/machine.ts";
import { VolumeStatus } from "../gen/drover/v1/volume.ts";
import type { Volume, VolumeSpec } from "../gen/drover/v1/volume.ts";

export type Named = { metadata: ObjectMeta };

export type InstanceSpec = VirtualMachineInstanceSpec & { domain: DomainSpec & { memory: MemorySpec } };
export type Machine = VirtualMachine & {
  metadata: ObjectMeta;
  spec: VirtualMachineSpec & { template: VirtualMachineInstanceTemplate & { spec: InstanceSpec } };
  status: VirtualMachineStatus;
};
export type Instance = VirtualMachineInstance & { metadata: ObjectMeta; spec: InstanceSpec; status: VirtualMachineInstanceStatus };
export type Migration = VirtualMachineInstanceMigration & {
  metadata: ObjectMeta;
  spec: VirtualMachineInstanceMigrationSpec;
  status: VirtualMachineInstanceMigrationStatus;
};
export type NodeRecord = Node & { metadata: ObjectMeta; spec: NodeSpec; status: NodeStatus };
export type Policy = MigrationPolicy & { metadata: ObjectMeta };
export type NamespaceRecord = Namespace & { metadata: ObjectMeta };
export type VolumeRecord = Volume & { metadata: ObjectMeta; spec: VolumeSpec; status: VolumeStatus };

/** Each answers undefined for a record that this version cannot make sense of; the caller leaves it alone. */
export function machineOf(object: VirtualMachine): Machine | undefined {
  const { metadata, spec } = object;
  const template = spec?.template;
  const instanceSpec = instanceSpecOf(template?.spec);
  if (!metadata || !spec || !template || !instanceSpec) return undefined;
  const status = object.status ?? VirtualMachineStatus.create();
  return { ...object, metadata, spec: { ...spec, template: { ...template, spec: instanceSpec } }, status };
}

export function instanceOf(object: VirtualMachineInstance): Instance | undefined {
  const { metadata } = object;
  const spec = instanceSpecOf(object.spec);
  if (!metadata || !spec) return undefined;
  return { ...object, metadata, spec, status: object.status ?? VirtualMachineInstanceStatus.create() };
}

export function migrationOf(object: VirtualMachineInstanceMigration): Migration | undefined {
  const { metadata, spec } = object;
  if (!metadata || !spec) return undefined;
  return { ...object, metadata, spec, status: object.status ?? VirtualMachineInstanceMigrationStatus.create() };
}

export function nodeOf(object: Node): NodeRecord | undefined {
  const { metadata } = object;
  if (!metadata) return undefined;
  return { ...object, metadata, spec: object.spec ?? NodeSpec.create(), status: object.status ?? NodeStatus.create() };
}

export function volumeOf(object: Volume): VolumeRecord | undefined {
  const { metadata, spec } = object;
  if (!metadata || !spec) return undefined;
  return { ...object, metadata, spec, status: object.status ?? VolumeStatus.create() };
}

/** For kinds of which nothing but the metadata is taken for granted. */
export function withMetadata<T extends { metadata: ObjectMeta | undefined }>(object: T): (T & Named) | undefined {
  const { metadata } = object;
  return metadata && { ...object, metadata };
}

function instanceSpecOf(spec: VirtualMachineInstanceSpec | undefined): InstanceSpec | undefined {
  const domain = spec?.domain;
  const memory = domain?.memory;
  return spec && domain && memory ? { ...spec, domain: { ...domain, memory } } : undefined;
}

/** How caches and queues name an object: `namespace/name`, or the name alone for kinds without namespaces. */
export function keyOf({ metadata }: Named): string {
  return metadata.namespace === "" ? metadata.name : `${metadata.namespace}/${metadata.name}`;
}
