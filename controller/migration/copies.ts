/**
 * The images that a migration copies, as Volumes: one at the source, one at the target. The target's is held before the
 * migration is entered, and says that its bytes are not there yet; after the handoff the two change places. Pure.
 */
import type { PoolDisk } from "../../gen/drover/v1/machine.ts";
import { CopiedDisk } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { InstanceMigration } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { VolumeHolder, VolumeSpec, VolumeState, VolumeStatus } from "../../gen/drover/v1/volume.ts";
import { diskTransfers } from "../../lib/disk-transfer.ts";
import { newVolume, poolIdOn, volumeName } from "../instance/volumes.ts";
import type { Instance, NodeRecord, VolumeRecord } from "../objects.ts";

type Find = (name: string) => VolumeRecord | undefined;
export type Ends = { source: NodeRecord | undefined; target: NodeRecord };

export function copiedDisks({ spec }: Instance, { source, target }: Ends): CopiedDisk[] {
  const reports = { source: source?.status.report, target: target.status.report ?? { pools: [] } };
  return diskTransfers(spec, reports)
    .filter(({ kind }) => kind === "copy")
    .map(({ volume, pool }) => {
      const image = diskOf(spec, volume)?.image;
      if (pool === undefined || image === undefined || !source) return CopiedDisk.create({ volume });
      const nameOn = (node: NodeRecord) => volumeName(poolIdOn(node, pool), image);
      return CopiedDisk.create({ volume, sourceVolume: nameOn(source), targetVolume: nameOn(target) });
    });
}

function diskOf({ volumes }: Instance["spec"], volume: string): PoolDisk | undefined {
  const source = volumes.find(({ name }) => name === volume)?.source;
  return source?.$case === "disk" ? source.value : undefined;
}

/** The volumes to hold at the target before the migration is entered under `epoch`. */
export function incomingVolumes(instance: Instance, { copied, find, target, migrationUid, epoch }: {
  copied: readonly CopiedDisk[]; find: Find; target: NodeRecord; migrationUid: string; epoch: number;
}): VolumeRecord[] {
  const { namespace, name, uid } = instance.metadata;
  const holder = VolumeHolder.create({ namespace, name, vmiUid: uid, epoch });
  return copied.filter(({ targetVolume }) => targetVolume !== "").map(({ volume, targetVolume }) => {
    const made = find(targetVolume) ?? incoming(instance, { volume, name: targetVolume, target });
    return { ...made, status: VolumeStatus.create({ holder, state: VolumeState.INCOMING, migrationUid }) };
  });
}

function incoming({ metadata, spec }: Instance, { volume, name, target }: { volume: string; name: string; target: NodeRecord }): VolumeRecord {
  const { pool, image } = diskOf(spec, volume) ?? { pool: "", image: "" };
  return newVolume(name, VolumeSpec.create({ poolId: poolIdOn(target, pool), image, pool, namespace: metadata.namespace }));
}

/** Names of images that keep the machine off the target: others have theirs there under the same name. */
export function occupiedImages(instance: Instance, { copied, find }: { copied: readonly CopiedDisk[]; find: Find }): string[] {
  return copied.flatMap(({ targetVolume }) => {
    const volume = targetVolume === "" ? undefined : find(targetVolume);
    if (!volume || volume.status.state === VolumeState.VACATED) return [];
    const isOurs = volume.status.state === VolumeState.INCOMING && volume.status.holder?.vmiUid === instance.metadata.uid;
    return isOurs ? [] : [volume.spec.image];
  });
}

/** What the instance holds while both sides have an image, after the handoff, and after a revocation. */
export const heldMeanwhile = (held: readonly string[], { copiedDisks }: Pick<InstanceMigration, "copiedDisks">): string[] =>
  [...new Set([...held, ...named(copiedDisks, "targetVolume")])];
export const heldAtTarget = (held: readonly string[], { copiedDisks }: Pick<InstanceMigration, "copiedDisks">): string[] => {
  const left = named(copiedDisks, "sourceVolume");
  return heldMeanwhile(held, { copiedDisks }).filter((name) => !left.includes(name));
};
export const heldAtSource = (held: readonly string[], { copiedDisks }: Pick<InstanceMigration, "copiedDisks">): string[] => {
  const came = named(copiedDisks, "targetVolume");
  return held.filter((name) => !came.includes(name));
};

const named = (copied: readonly CopiedDisk[], side: "sourceVolume" | "targetVolume"): string[] =>
  copied.map((disk) => disk[side]).filter((name) => name !== "");

/** After the handoff: the volumes say where the bytes are now. A volume that somebody has deleted says nothing any more. */
export function isSettled({ copiedDisks }: Pick<InstanceMigration, "copiedDisks">, find: Find): boolean {
  return copiedDisks.every(({ sourceVolume, targetVolume }) => {
    const [source, target] = [find(sourceVolume), find(targetVolume)];
    return (source?.status.state ?? VolumeState.VACATED) === VolumeState.VACATED && (target?.status.state ?? VolumeState.UNSPECIFIED) === VolumeState.UNSPECIFIED;
  });
}
