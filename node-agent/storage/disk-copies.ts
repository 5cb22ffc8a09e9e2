/**
 * Disks that a migration copies: what they are like at the source, and the images that wait for them at the target. And the
 * proof that the pools which are not copied are the same ones at both.
 */
import type { PoolDisk } from "../../gen/drover/v1/machine.ts";
import { DiskCopy, InstanceMigration, OfferedDisk } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { writableDisks } from "../../lib/disk-transfer.ts";
import { formatBytes } from "../../lib/quantity.ts";
import type { Random } from "../../lib/random.ts";
import { machineIdentity } from "../domain/identity.ts";
import { BaseDigests } from "./base-digests.ts";
import { openDirectory } from "./directory.ts";
import type { OpenDirectory } from "./directory.ts";
import { checkedName, formatOf } from "./image-name.ts";
import type { ImageRequest, Images } from "./images.ts";
import { emptyDiskName } from "./paths.ts";
import type { Pool } from "./pool.ts";
import { StorageError } from "./storage.ts";
import type { DiskCopies, Received } from "./storage.ts";
import type { Transfer, Transfers } from "./transfers.ts";

const PROOF = ".drover-proof-";
/** A base that is larger is not read before a move that waits for it. */
const BASE_BYTES_MAX = 2 * 2 ** 30;
/** What a file system needs besides, and the tables of an image. */
const SPARE_BYTES = 64 << 20;

/** Where a copied disk is on this node. */
type Place = { volume: string; name: string; directory: OpenDirectory; request: ImageRequest; pool: string; disk?: PoolDisk };

export type HostDiskCopiesOptions = {
  pool: (name: string) => Pool;
  /** The directory of the instance's own files. */
  machineDirectory: (instance: VirtualMachineInstance) => Promise<string>;
  imageRequest: (instance: VirtualMachineInstance, volume: string, disk: PoolDisk, directory: OpenDirectory) => ImageRequest;
  images: Images;
  transfers: Transfers;
  random: Random;
};

export class HostDiskCopies implements DiskCopies {
  readonly #options: HostDiskCopiesOptions;
  readonly #digests = new BaseDigests(BASE_BYTES_MAX);
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: HostDiskCopiesOptions) {
    this.#options = options;
  }

  async offer(instance: VirtualMachineInstance): Promise<OfferedDisk[]> {
    const { images, transfers } = this.#options;
    const offered: OfferedDisk[] = [];
    transfers.write(transferOf(instance, { side: "sourceVolume", bytes: {}, proofs: [] }));
    for (const { volume } of migrationOf(instance).copiedDisks) {
      await using place = await this.#place(instance, volume);
      const { virtualSizeBytes, allocatedBytes, base } = await images.describe(place.request);
      offered.push(OfferedDisk.create({
        volume, virtualSizeBytes, allocatedBytes,
        baseAllocatedBytes: base?.allocatedBytes ?? 0,
        baseDigest: base ? await this.#digests.of(place.directory, base.name) : "",
      }));
    }
    return offered;
  }

  receive(instance: VirtualMachineInstance): Promise<Received> {
    return this.exclusively(() => this.#receive(instance));
  }

  /** What is left of an earlier stay is removed by its own entry: never while a new image comes into its place. */
  exclusively<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(act);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #receive(instance: VirtualMachineInstance): Promise<Received> {
    const { copiedDisks, source } = migrationOf(instance);
    const places: (Place & AsyncDisposable)[] = [];
    await using opened = new AsyncDisposableStack();
    for (const { volume } of copiedDisks) places.push(opened.use(await this.#place(instance, volume)));
    const offers = places.map(({ volume }) => offerOf(source?.disks ?? [], volume));
    const diskCopy = places.length === 0 ? DiskCopy.UNSPECIFIED : await this.#how(places, offers);
    const bytes = needed(places, { offers, diskCopy });
    const proofs = provenPools(instance);
    await this.#requireRoom(instance, bytes);
    const earlier = this.#options.transfers.list();
    this.#options.transfers.write(transferOf(instance, { side: "targetVolume", bytes, proofs }));
    for (const [index, place] of places.entries()) await this.#make(place, { offer: offers[index]!, diskCopy, earlier, instance });
    this.#supersede(earlier, instance);
    return { diskCopy, poolProofs: await this.#prove(instance, proofs) };
  }

  async verify(instance: VirtualMachineInstance): Promise<void> {
    const { uid, target } = migrationOf(instance);
    for (const pool of provenPools(instance)) {
      const word = target?.poolProofs[pool] ?? "";
      const found = await this.#options.pool(pool).proof(PROOF + uid);
      if (word === "" || found !== word) {
        throw new StorageError("NotMigratable", `The pool "${pool}" of this node and of the target have the same id and are not the same directory: what the target wrote there is not here. One of them was copied from the other: give it an id of its own`);
      }
    }
  }

  async removeImage({ pool, image }: { pool: string; image: string }): Promise<void> {
    const opened = await this.#options.pool(pool).open();
    await using directory = opened.directory;
    await directory.remove(checkedName(image));
  }

  async hasImage({ pool, image }: { pool: string; image: string }): Promise<boolean> {
    const opened = await this.#options.pool(pool).open();
    await using directory = opened.directory;
    await using file = await directory.read(checkedName(image));
    return file !== undefined;
  }

  async removeProofs({ migrationUid, proofs }: Pick<Transfer, "migrationUid" | "proofs">): Promise<void> {
    for (const pool of proofs) await this.#options.pool(pool).removeUnfinished(PROOF + migrationUid);
  }

  /** The overlays alone, if every base here is the one that the source has. */
  async #how(places: readonly Place[], offers: readonly OfferedDisk[]): Promise<DiskCopy> {
    for (const [index, { disk, directory }] of places.entries()) {
      const { baseAllocatedBytes, baseDigest } = offers[index]!;
      if (baseAllocatedBytes === 0 && baseDigest === "") continue;
      if (!disk || baseDigest === "" || (await this.#digests.of(directory, checkedName(disk.baseImage))) !== baseDigest) return DiskCopy.FULL;
    }
    return DiskCopy.OVERLAYS;
  }

  /** Nothing else of this machine can be there: its guest runs at the source, on the disk that is to be copied. */
  async #make(place: Place, { offer, diskCopy, earlier, instance }: { offer: OfferedDisk; diskCopy: DiskCopy; earlier: readonly Transfer[]; instance: VirtualMachineInstance }): Promise<void> {
    const { request, directory, name, pool, disk } = place;
    const { uid } = migrationOf(instance);
    // An earlier agent has made it for this very migration, whose call may have been let through already.
    const isOurs = earlier.some(({ migrationUid }) => migrationUid === uid) && (await directory.has(name));
    if (isOurs) return this.#requireSize(place, offer);
    const isLeftover = disk === undefined || earlier.some(({ images, vmUid }) => vmUid === machineIdentity(instance).vmUid && images.some(isAt({ pool, image: name })));
    if (isLeftover) await directory.remove(name);
    const { base, ...rest } = request;
    const isOverlay = diskCopy === DiskCopy.OVERLAYS && base !== undefined && offer.baseDigest !== "";
    await this.#options.images.make({ ...rest, sizeBytes: offer.virtualSizeBytes, ...(isOverlay && { base }) });
  }

  async #requireSize({ request, volume }: Place, { virtualSizeBytes }: OfferedDisk): Promise<void> {
    const made = await this.#options.images.describe(request);
    if (made.virtualSizeBytes !== virtualSizeBytes) throw new StorageError("InvalidSize", `The image for disk "${volume}" was made with ${made.virtualSizeBytes} bytes, and the source has ${virtualSizeBytes}`);
  }

  /** The places are this migration's now: nothing that lies there is anything else's to remove. */
  #supersede(earlier: readonly Transfer[], instance: VirtualMachineInstance): void {
    const { transfers } = this.#options;
    const own = transferOf(instance, { side: "targetVolume", bytes: {}, proofs: [] });
    for (const transfer of earlier) {
      if (transfer.migrationUid === own.migrationUid) continue;
      const images = transfer.images.filter((one) => !own.images.some(isAt(one)));
      if (images.length < transfer.images.length) transfers.write({ ...transfer, images });
    }
  }

  /** What other migrations are still to bring is counted as taken. */
  async #requireRoom(instance: VirtualMachineInstance, bytes: Record<string, number>): Promise<void> {
    const { uid } = migrationOf(instance);
    const others = this.#options.transfers.list().filter(({ migrationUid }) => migrationUid !== uid);
    for (const [pool, wanted] of Object.entries(bytes)) {
      const promised = others.reduce((sum, transfer) => sum + (transfer.bytes[pool] ?? 0), 0);
      await using directory = await this.#directoryOf(instance, pool);
      const { bsize, bavail } = await directory.space();
      const free = bavail * bsize - promised - SPARE_BYTES;
      if (wanted <= free) continue;
      const where = pool === "" ? "The directory of the machine's own files" : `Pool "${pool}"`;
      throw new StorageError("NoSpace", `${where} has room for ${formatBytes(Math.max(0, free))} and the machine's disks bring up to ${formatBytes(wanted)}`);
    }
  }

  async #prove(instance: VirtualMachineInstance, pools: readonly string[]): Promise<Record<string, string>> {
    const { uid } = migrationOf(instance);
    const words: Record<string, string> = {};
    for (const pool of pools) {
      words[pool] = await this.#options.pool(pool).prove(PROOF + uid, this.#options.random.token(16));
    }
    return words;
  }

  async #place(instance: VirtualMachineInstance, volume: string): Promise<Place & AsyncDisposable> {
    const source = instance.spec?.volumes.find(({ name }) => name === volume)?.source;
    switch (source?.$case) {
      case "disk": {
        const { value: disk } = source;
        const directory = await this.#directoryOf(instance, disk.pool);
        const request = this.#options.imageRequest(instance, volume, disk, directory);
        return placed({ volume, name: request.name, directory, request, pool: disk.pool, disk });
      }
      case "emptyDisk": {
        const directory = await this.#directoryOf(instance, "");
        const name = emptyDiskName(volume);
        const request: ImageRequest = { directory, name, format: "qcow2", temporary: `.drover-new-${name}`, probes: new Map() };
        return placed({ volume, name, directory, request, pool: "" });
      }
      case "cloudInitNoCloud":
      case undefined:
        throw new StorageError("NotMigratable", `Volume "${volume}" is none whose bytes can be copied`);
    }
  }

  async #directoryOf(instance: VirtualMachineInstance, pool: string): Promise<OpenDirectory> {
    if (pool === "") return openDirectory(await this.#options.machineDirectory(instance));
    return (await this.#options.pool(pool).open()).directory;
  }
}

const isAt = ({ pool, image }: { pool: string; image: string }) => (one: { pool: string; image: string }): boolean => one.pool === pool && one.image === image;

const placed = (place: Place): Place & AsyncDisposable => ({ ...place, [Symbol.asyncDispose]: () => place.directory[Symbol.asyncDispose]() });

function migrationOf({ status }: VirtualMachineInstance): InstanceMigration {
  return status?.migration ?? InstanceMigration.create();
}

function offerOf(offered: readonly OfferedDisk[], volume: string): OfferedDisk {
  const offer = offered.find((one) => one.volume === volume);
  if (!offer || offer.virtualSizeBytes <= 0) throw new StorageError("NotMigratable", `The source has not said what disk "${volume}" is like`);
  return offer;
}

/** At most what the guest sees, by pool; "" stands for the directory of the machine's own files. */
function needed(places: readonly Place[], { offers, diskCopy }: { offers: readonly OfferedDisk[]; diskCopy: DiskCopy }): Record<string, number> {
  const bytes: Record<string, number> = {};
  for (const [index, { pool }] of places.entries()) {
    const { allocatedBytes, baseAllocatedBytes, virtualSizeBytes } = offers[index]!;
    const all = allocatedBytes + (diskCopy === DiskCopy.FULL ? baseAllocatedBytes : 0);
    bytes[pool] = (bytes[pool] ?? 0) + Math.min(all, virtualSizeBytes);
  }
  return bytes;
}

/** Pools with disks that the guest writes to and that are not copied: both nodes must have the very same. */
function provenPools(instance: VirtualMachineInstance): string[] {
  const { spec } = instance;
  if (!spec) return [];
  const copied = new Set(migrationOf(instance).copiedDisks.map(({ volume }) => volume));
  return [...new Set(writableDisks(spec).filter(({ volume }) => !copied.has(volume)).map(({ disk }) => disk.pool))];
}

type Side = { side: "sourceVolume" | "targetVolume"; bytes: Record<string, number>; proofs: string[] };

function transferOf(instance: VirtualMachineInstance, { side, bytes, proofs }: Side): Transfer {
  const { namespace, vm, vmUid, vmiUid } = machineIdentity(instance);
  const { uid: migrationUid, copiedDisks } = migrationOf(instance);
  const images = copiedDisks.flatMap((copied) => {
    const source = instance.spec?.volumes.find(({ name }) => name === copied.volume)?.source;
    return source?.$case === "disk" ? [{ volume: copied[side], pool: source.value.pool, image: imageOf(source.value) }] : [];
  });
  return { migrationUid, namespace, vm, vmUid, vmiUid, bytes, images, proofs };
}

/** The API has filled it in before a migration could name the disk's Volume. */
const imageOf = ({ image, format }: PoolDisk): string => {
  if (image === "") throw new StorageError("InvalidName", `A ${formatOf(format)} disk has no image name on record`);
  return checkedName(image);
};
