/**
 * What the server knows of one kind of object: how it is named, stored, completed and checked. A kind is a value; every
 * function in it is pure.
 */
import type { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import type { ObjectMeta, SecretValue } from "../../gen/drover/v1/meta.ts";
import type { Fault } from "../../lib/errors.ts";
import type { Random } from "../../lib/random.ts";
import type { Identifier } from "./machine/identifiers.ts";

/** The shape that all stored objects share. */
export type Resource = { metadata: ObjectMeta | undefined };
export type Key = { namespace?: string; name: string };

export type Codec<T> = {
  encode(message: T, writer?: BinaryWriter): BinaryWriter;
  decode(input: BinaryReader | Uint8Array, length?: number): T;
  create(base?: Record<string, never>): T;
};

/** What a new object may draw on; its uid is fixed before its defaults. */
export type Birth = { uid: string; now: Date; requestId: string };

/** A generation of 0 says nothing: such an object is made from no particular wish of its owner's. */
export type Origin = { grantedEpoch: number; /** By the object itself, and not by one before it. */ isGrant: boolean; machineGeneration: number; powerGeneration: number };

export type Kind<T extends Resource> = {
  /** As people and event references write it, such as "VirtualMachine". */
  name: string;
  /** First part of the store's keys, such as "virtualmachines". */
  plural: string;
  /** The object's field in requests, in proto spelling: the root of every fault's path, such as "virtual_machine". */
  field: string;
  /** Full name of the message, for field rules, masks and selectors. */
  typeName: string;
  namespaced: boolean;
  /** Names may be DNS subdomains of 253 characters instead of labels of 63. */
  longNames?: boolean;
  /** Its objects need no namespace object and stay when that goes. */
  outlivesNamespace?: boolean;
  codec: Codec<T>;
  /** Fills in what the user left out. Repeatable; `before` is what an update changes. */
  defaults(object: T, context: { uid: string; random: Random; before?: T }): T;
  /** First status and finalizers; a status is there already when the control plane gave one. */
  born?(object: T, birth: Birth): T;
  /** The same object without what users may not say. */
  withoutStatus(object: T): T;
  /** The answer to a status update: the status that was sent, apart from what other writers own. */
  withStatus?(stored: T, sent: T): T;
  /** Rules across fields that the proto's own rules cannot say; paths from the object's root, such as "spec.template". */
  validate(object: T): Fault[];
  /** What an update may not do. */
  validateChange(before: T, after: T): Fault[];
  /** What the server's own part of the status makes of a changed spec. */
  changed?(before: T, after: T, context: { now: Date; requestId: string }): T;
  /** The same object with each secret replaced; `place` names a secret in all versions. */
  mapSecrets?(object: T, replace: (secret: SecretValue, place: string) => SecretValue): T;
  /** What no other machine may have; for kinds that describe a machine. */
  identifiers?(object: T): Identifier[];
  /** Which state of its owner the object was made from; for kinds that continue what their owner has come to. */
  origin?(object: T): Origin;
  /** The default of a deletion's grace; absent for kinds whose deletion has none. */
  gracePeriodSeconds?(object: T): number;
};

/** The key that an object stands under. */
export function storeKey<T extends Resource>(kind: Kind<T>, { namespace, name }: Key): string {
  return kind.namespaced ? `${kind.plural}/${namespace || "default"}/${name}` : `${kind.plural}/${name}`;
}

/** The keys of a kind, of one namespace when it is given. */
export function storePrefix<T extends Resource>(kind: Kind<T>, namespace?: string): string {
  return kind.namespaced && namespace ? `${kind.plural}/${namespace}/` : `${kind.plural}/`;
}

/** The metadata of a stored object, which always has one. */
export function metaOf(object: Resource): ObjectMeta {
  if (object.metadata === undefined) throw new Error("A stored object has no metadata");
  return object.metadata;
}

export function keyOf(object: Resource): Key {
  const { namespace, name } = metaOf(object);
  return namespace === "" ? { name } : { namespace, name };
}
