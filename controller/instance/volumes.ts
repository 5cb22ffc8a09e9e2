/** Which images an instance writes to, and who may. Pure. */
import { createHash } from "node:crypto";
import type { PoolDisk } from "../../gen/drover/v1/machine.ts";
import { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import { VolumeHolder, VolumeSpec, VolumeState, VolumeStatus } from "../../gen/drover/v1/volume.ts";
import { writableDisks as poolDisks } from "../../lib/disk-transfer.ts";
import type { Instance, InstanceSpec, NodeRecord, VolumeRecord } from "../objects.ts";

/** What the API takes as a name. */
const NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const DIGEST_LENGTH = 48;

/** Lower-case letters, digits, "." and "-" stand for themselves; all else as hexadecimal digits between "-x" and "-". */
export function volumeName(poolId: string, image: string): string {
  const hex = (character: string) => [...Buffer.from(character)].map((byte) => `-x${byte.toString(16).padStart(2, "0")}-`).join("");
  const escape = (text: string) => text.replace(/[^a-z0-9.-]/gu, hex);
  const name = escape(`${poolId}.${image}`);
  if (NAME.test(name)) return name;
  // Images whose escaped name is too long or ends in a sign go by their digest.
  return `${escape(poolId)}.${createHash("sha256").update(image).digest("hex").slice(0, DIGEST_LENGTH)}`;
}

/** Pool disks that the guest may write to. */
export const writableDisks = (spec: InstanceSpec): PoolDisk[] => poolDisks(spec).map(({ disk }) => disk);

/** Volumes that exist on the node alone, whatever node the machine would move to. */
export function copiedVolumes(spec: InstanceSpec, { chosen, nodes }: { chosen: NodeRecord; nodes: readonly NodeRecord[] }): string[] {
  const others = nodes.filter(({ metadata }) => metadata.name !== chosen.metadata.name);
  const isShared = (pool: string) => others.some((node) => poolIdOn(node, pool) === poolIdOn(chosen, pool));
  const apart = new Set(poolDisks(spec).filter(({ disk }) => !isShared(disk.pool)).map(({ volume }) => volume));
  return spec.volumes.filter(({ name, source }) => source?.$case === "emptyDisk" || apart.has(name)).map(({ name }) => name);
}

/** The image's bytes are where the volume says, as far as anybody has made any. */
export const isThere = ({ status }: VolumeRecord): boolean => status.state === VolumeState.UNSPECIFIED;

type Find = (name: string) => VolumeRecord | undefined;

/** The volumes to hold before a start on the node; `find` looks a recorded one up. */
export function volumesFor({ metadata, spec }: Instance, node: NodeRecord, find: Find): VolumeRecord[] {
  const wanted = writableDisks(spec).map(({ pool, image }) => {
    const poolId = poolIdOn(node, pool);
    const name = volumeName(poolId, image);
    return find(name) ?? newVolume(name, VolumeSpec.create({ poolId, image, pool, namespace: metadata.namespace }));
  });
  return wanted.filter((volume, index) => wanted.findIndex(({ metadata }) => metadata.name === volume.metadata.name) === index);
}

/** An image that the instance names, in whatever part, and that another namespace's machines write to. */
export function foreignVolume({ metadata, spec }: Instance, node: NodeRecord, find: Find): VolumeRecord | undefined {
  return imagesOf(spec)
    .map(({ pool, image }) => find(volumeName(poolIdOn(node, pool), image)))
    .find((volume) => volume !== undefined && volume.spec.namespace !== "" && volume.spec.namespace !== metadata.namespace);
}

type Image = { pool: string; image: string };

function imagesOf({ domain, volumes }: InstanceSpec): Image[] {
  const disks = volumes.flatMap(({ source }): Image[] => {
    if (source?.$case !== "disk") return [];
    const { pool, image, baseImage } = source.value;
    return [{ pool, image }, { pool, image: baseImage }];
  });
  const boot = domain.firmware?.kernelBoot;
  const files = boot ? [boot.kernel, boot.initrd].map((image) => ({ pool: boot.pool, image })) : [];
  return [...disks, ...files].filter(({ image }) => image !== "");
}

export const poolIdOn = (node: NodeRecord, pool: string): string => node.status.report?.pools.find(({ name }) => name === pool)?.id ?? "";

export const newVolume = (name: string, spec: VolumeSpec): VolumeRecord => ({ metadata: ObjectMeta.create({ name }), spec, status: VolumeStatus.create() });

export const holderOf = ({ status }: VolumeRecord, { metadata }: Instance): "nobody" | "mine" | "other" => {
  if (!status.holder) return "nobody";
  return status.holder.vmiUid === metadata.uid ? "mine" : "other";
};

export function heldBy(volume: VolumeRecord, { metadata }: Instance, epoch: number): VolumeRecord {
  const holder = VolumeHolder.create({ namespace: metadata.namespace, name: metadata.name, vmiUid: metadata.uid, epoch });
  return { ...volume, status: { ...volume.status, holder } };
}
