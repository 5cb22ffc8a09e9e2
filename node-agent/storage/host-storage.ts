/** Storage on a real host: pools are directories, images are made by qemu-img, a machine's own files have a directory. */
import { mkdir, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { CloudInitNoCloud, KernelBoot, PoolDisk, VirtualMachineVolume } from "../../gen/drover/v1/machine.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { quantityBytes } from "../../lib/quantity.ts";
import type { Random } from "../../lib/random.ts";
import { machineIdentity } from "../domain/identity.ts";
import type { MachineIdentity } from "../domain/identity.ts";
import type { DiskSource, FirmwareFiles, MachinePaths, PreparedMachine } from "../domain/parts.ts";
import { runCommand } from "./command.ts";
import type { RunCommand } from "./command.ts";
import { openDirectory } from "./directory.ts";
import type { OpenDirectory } from "./directory.ts";
import { explained, hasCode } from "./durable-file.ts";
import { FirmwareVariables } from "./firmware-variables.ts";
import { checkedName, formatOf, imageName } from "./image-name.ts";
import { HostDiskCopies } from "./disk-copies.ts";
import { Images } from "./images.ts";
import type { ImageRequest, Probes } from "./images.ts";
import { migrationHindrances } from "./migratable.ts";
import { findOvmf } from "./ovmf.ts";
import { emptyDiskName, machineDirectory, machinePaths, machinesDirectory, seedName } from "./paths.ts";
import { Pool } from "./pool.ts";
import type { PoolConfig } from "./pool.ts";
import { seedIso } from "./seed.ts";
import { StorageError } from "./storage.ts";
import type { Storage } from "./storage.ts";
import { fileTransfers } from "./transfers.ts";
import type { Transfers } from "./transfers.ts";

export type HostStorageOptions = {
  stateDirectory: string;
  pools: readonly PoolConfig[];
  random: Random;
  run?: RunCommand;
  findFirmware?: () => Promise<FirmwareFiles | undefined>;
};

/** QEMU may run as another user: it may pass through to the files it was given, and see no others. */
const DIRECTORY_MODE = 0o711;
const SECRET_MODE = 0o600;
const UNFINISHED = ".drover-new-";

type Preparation = { identity: MachineIdentity; paths: MachinePaths; mayCreate: boolean; probes: Probes };

export function hostStorage(options: HostStorageOptions): Storage {
  return new HostStorage(options);
}

class HostStorage implements Storage {
  readonly firmwareVariables: FirmwareVariables;
  readonly copies: HostDiskCopies;
  readonly transfers: Transfers;
  readonly #stateDirectory: string;
  readonly #pools: Map<string, Pool>;
  readonly #images: Images;
  readonly #findFirmware: () => Promise<FirmwareFiles | undefined>;
  /** By instance, from `inspect` until the start that it was made for. A later start of the same disks looks anew. */
  readonly #inspected = new Map<string, Promise<Probes>>();

  constructor({ stateDirectory, pools, random, run = runCommand, findFirmware = findOvmf }: HostStorageOptions) {
    this.#stateDirectory = stateDirectory;
    this.firmwareVariables = new FirmwareVariables(stateDirectory);
    this.#pools = new Map(pools.map((pool) => [pool.name, new Pool(pool, { stateDirectory, random })]));
    this.#images = new Images(run);
    this.#findFirmware = findFirmware;
    this.transfers = fileTransfers(stateDirectory);
    this.copies = new HostDiskCopies({
      pool: (name) => this.#pool(name),
      machineDirectory: async (instance) => {
        const { directory } = this.paths(machineIdentity(instance));
        await makeDirectory(directory);
        return directory;
      },
      imageRequest: (instance, volume, disk, directory) => imageRequest({ volume, disk, identity: machineIdentity(instance), directory, probes: new Map() }),
      images: this.#images,
      transfers: this.transfers,
      random,
    });
  }

  pools() {
    return Promise.all([...this.#pools.values()].map((pool) => pool.describe()));
  }

  paths(instance: { vmiUid: string; vmUid: string }): MachinePaths {
    return machinePaths(this.#stateDirectory, instance);
  }

  async inspect(instance: VirtualMachineInstance): Promise<void> {
    const inspecting = this.#inspect(instance);
    this.#inspected.set(machineIdentity(instance).vmiUid, inspecting);
    await inspecting;
  }

  async prepareDisks(instance: VirtualMachineInstance): Promise<PreparedMachine> {
    const { vmiUid } = machineIdentity(instance);
    const probes = await this.#inspected.get(vmiUid);
    this.#inspected.delete(vmiUid);
    return this.#prepare(instance, { mayCreate: true, probes: probes ?? new Map() });
  }

  async prepareIncoming(instance: VirtualMachineInstance): Promise<PreparedMachine> {
    const hindrances = instance.spec ? migrationHindrances(instance.spec) : [];
    if (hindrances.length > 0) throw new StorageError("NotMigratable", `The machine cannot move: ${hindrances.join("; ")}`);
    return this.#prepare(instance, { mayCreate: false, probes: new Map() });
  }

  async machines(): Promise<string[]> {
    return namesIn(machinesDirectory(this.#stateDirectory));
  }

  async removeMachineFiles(vmiUid: string): Promise<void> {
    this.#inspected.delete(vmiUid);
    await rm(machineDirectory(this.#stateDirectory, vmiUid), { recursive: true, force: true });
    for (const pool of this.#pools.values()) await pool.removeUnfinished(UNFINISHED + vmiUid);
  }

  async #inspect(instance: VirtualMachineInstance): Promise<Probes> {
    const identity = machineIdentity(instance);
    const probes: Probes = new Map();
    for (const { name, source } of instance.spec?.volumes ?? []) {
      if (source?.$case !== "disk") continue;
      const pool = this.#pools.get(source.value.pool);
      if (!pool) continue;
      // What is wrong is said when the start comes upon it, which opens the pool in earnest first.
      const find = async () => {
        await using directory = await pool.openUnknown();
        await this.#images.find(imageRequest({ volume: name, disk: source.value, identity, directory, probes }));
      };
      await find().catch(() => undefined);
    }
    return probes;
  }

  async #prepare(instance: VirtualMachineInstance, how: Pick<Preparation, "mayCreate" | "probes">): Promise<PreparedMachine> {
    const identity = machineIdentity(instance);
    const paths = this.paths(identity);
    for (const directory of [paths.directory, dirname(paths.nvram)]) await makeDirectory(directory);
    const { volumes = [], domain } = instance.spec ?? {};
    const disks: Record<string, DiskSource> = {};
    for (const volume of volumes) disks[volume.name] = await this.#volume(volume, { identity, paths, ...how });
    const boot = domain?.firmware;
    const isEfi = boot?.bootloader?.firmware?.$case === "efi";
    if (isEfi) this.firmwareVariables.claim(identity);
    return {
      paths,
      disks,
      ...(boot?.kernelBoot && { kernel: await this.#kernel(boot.kernelBoot) }),
      ...(isEfi && { firmware: await this.#firmware() }),
    };
  }

  async #volume({ name, source }: VirtualMachineVolume, preparation: Preparation): Promise<DiskSource> {
    switch (source?.$case) {
      case "disk":
        return this.#poolDisk(name, source.value, preparation);
      case "emptyDisk":
        return this.#emptyDisk(name, quantityBytes(source.value.capacity), preparation);
      case "cloudInitNoCloud":
        return seed(name, source.value, preparation);
      case undefined:
        throw new StorageError("ImageMissing", `Volume "${name}" has no source that this agent knows`);
    }
  }

  async #poolDisk(volume: string, disk: PoolDisk, { identity, mayCreate, probes }: Preparation): Promise<DiskSource> {
    const opened = await this.#pool(disk.pool).open();
    await using directory = opened.directory;
    const request = imageRequest({ volume, disk, identity, directory, probes });
    const image = mayCreate ? await this.#images.findOrCreate(request) : await this.#images.find(request);
    if (image === undefined) throw new StorageError("ImageMissing", `Image "${request.name}" does not exist in pool "${disk.pool}" of this node`);
    return { ...image, kind: "pool" };
  }

  async #emptyDisk(volume: string, sizeBytes: number, { paths, probes }: Preparation): Promise<DiskSource> {
    const name = emptyDiskName(volume);
    await using directory = await openDirectory(paths.directory);
    const image = await this.#images.findOrCreate({ directory, name, format: "qcow2", sizeBytes, temporary: `${UNFINISHED}${name}`, probes });
    return { ...image, kind: "empty" };
  }

  async #kernel({ pool, kernel, initrd }: KernelBoot): Promise<{ kernel: string; initrd?: string }> {
    const opened = await this.#pool(pool).open();
    await using directory = opened.directory;
    const file = await existing(directory, kernel);
    return initrd === "" ? { kernel: file } : { kernel: file, initrd: await existing(directory, initrd) };
  }

  async #firmware(): Promise<FirmwareFiles> {
    const files = await this.#findFirmware();
    if (files === undefined) throw new StorageError("FirmwareMissing", "Cannot boot with EFI: OVMF is not installed on this node");
    return files;
  }

  #pool(name: string): Pool {
    const pool = this.#pools.get(name);
    if (pool === undefined) throw new StorageError("PoolMissing", `This node has no pool "${name}"`);
    return pool;
  }
}

type Wanted = { volume: string; disk: PoolDisk; identity: MachineIdentity; directory: OpenDirectory; probes: Probes };

function imageRequest({ volume, disk, identity, directory, probes }: Wanted): ImageRequest {
  const name = imageName(disk, { ...identity, volume });
  const base = disk.baseImage === "" ? undefined : { name: checkedName(disk.baseImage), format: formatOf(disk.baseFormat) };
  if (base?.name === name) throw new StorageError("InvalidName", `Image "${name}" cannot overlay itself`);
  return {
    directory,
    name,
    format: formatOf(disk.format),
    temporary: `${UNFINISHED}${identity.vmiUid}-${volume}`,
    probes,
    ...(disk.size !== "" && { sizeBytes: quantityBytes(disk.size) }),
    ...(base && { base }),
  };
}

async function existing(directory: OpenDirectory, name: string): Promise<string> {
  await using file = await directory.read(checkedName(name));
  if (file === undefined) throw new StorageError("ImageMissing", `"${name}" does not exist in its pool`);
  return join(directory.path, name);
}

/** Written anew at each start: it holds secrets of the spec and nothing of the guest's. */
async function seed(volume: string, data: CloudInitNoCloud, { identity, paths }: Preparation): Promise<DiskSource> {
  const name = seedName(volume);
  const unfinished = UNFINISHED + name;
  try {
    await using directory = await openDirectory(paths.directory);
    await directory.remove(unfinished);
    await using file = await directory.create(unfinished, SECRET_MODE);
    await file.writeFile(seedIso(data, identity));
    await directory.replace(unfinished, name);
  } catch (cause) {
    throw explained(cause, "Cannot write the cloud-init data");
  }
  return { path: join(paths.directory, name), format: "raw", kind: "seed" };
}

async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
  } catch (cause) {
    throw explained(cause, `Cannot make "${directory}"`);
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw explained(error, `Cannot read "${directory}"`);
  }
}
