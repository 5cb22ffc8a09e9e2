/** Images: made by qemu-img under a name of their own, and looked into before a guest gets them. */
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { DiskSource, ImageFormat } from "../domain/parts.ts";
import { INHERITED_PATH } from "./command.ts";
import type { RunCommand } from "./command.ts";
import type { OpenDirectory } from "./directory.ts";
import { checkImage } from "./image-header.ts";
import type { ImageHeader } from "./image-header.ts";
import { checkedName } from "./image-name.ts";
import { ImageReader } from "./image-reader.ts";
import { StorageError } from "./storage.ts";

export type ImageRequest = {
  directory: OpenDirectory;
  name: string;
  format: ImageFormat;
  /** Absent takes the size of the base, or of the image that is there. */
  sizeBytes?: number;
  base?: { name: string; format: ImageFormat };
  /** Name of the unfinished image; the same at each try, so that a try which was killed leaves nothing for ever. */
  temporary: string;
  /** What was found in images a moment ago, for this start alone; more is added. */
  probes: Probes;
};

/** By path. A header counts only for the file as it was when it was read: the same one, not written to since. */
export type Probes = Map<string, { stamp: string; header: ImageHeader }>;

type Image = Pick<DiskSource, "path" | "format" | "base">;
type Named = { name: string; format: ImageFormat };

export type Described = { virtualSizeBytes: number; allocatedBytes: number; base?: { name: string; allocatedBytes: number } };

/** The unit of a file's blocks, whatever its file system has. */
const STAT_BLOCK_BYTES = 512;
const CREATE_TIMEOUT_MS = 120_000;
const IMAGE_MODE = 0o600;
const BASES_MAX = 256;

export class Images {
  readonly #run: RunCommand;
  readonly #reader: ImageReader;
  /** Many machines stand on one base, to which no guest writes. A disk of a guest's own is looked into at each start. */
  readonly #bases: Probes = new Map();

  constructor(run: RunCommand) {
    this.#run = run;
    this.#reader = new ImageReader(run);
  }

  /** The image if it is there and may be used; undefined when there is none. */
  async find({ directory, name, format, base, probes }: ImageRequest): Promise<Image | undefined> {
    const header = await this.#probe(directory, { name, format }, probes);
    if (header === undefined) return undefined;
    const declared = base && { path: join(directory.path, base.name), format: base.format };
    checkImage(header, { name, format, ...(declared && { base: declared }) });
    if (base !== undefined && header.backing) await this.#checkBase(directory, base);
    return { path: join(directory.path, name), format, ...(declared && header.backing && { base: declared }) };
  }

  async findOrCreate(request: ImageRequest): Promise<Image> {
    const found = await this.find(request);
    if (found !== undefined) return found;
    await this.#create(request);
    const made = await this.find(request);
    if (made === undefined) throw new StorageError("ImageMissing", `Image "${request.name}" went away right after it was made`);
    return made;
  }

  /** A new one, of the size that is given. What is there already is somebody's and stays as it is. */
  async make(request: ImageRequest & { sizeBytes: number }): Promise<void> {
    const { directory, name } = request;
    const isMade = (await directory.has(name)) ? false : await this.#create(request);
    if (!isMade) throw new StorageError("NotMigratable", `"${join(directory.path, name)}" exists already, and is nothing that an earlier migration of the machine left there`);
  }

  /** What the image is like, once it was found to be one that the machine may have. */
  async describe(request: ImageRequest): Promise<Described> {
    const { directory, name, format, probes } = request;
    const image = await this.find(request);
    const header = image && (await this.#probe(directory, { name, format }, probes));
    if (!header) throw new StorageError("ImageMissing", `Image "${name}" does not exist`);
    const base = image.base && request.base;
    return {
      virtualSizeBytes: header.virtualSizeBytes,
      allocatedBytes: await allocatedBytes(directory, name),
      ...(base && { base: { name: base.name, allocatedBytes: await allocatedBytes(directory, base.name) } }),
    };
  }

  async #create(request: ImageRequest): Promise<boolean> {
    const { directory, name, format, base, sizeBytes, temporary } = request;
    const baseSizeBytes = base && (await this.#checkBase(directory, base)).virtualSizeBytes;
    const bytes = sizeBytes ?? baseSizeBytes;
    if (bytes === undefined) throw new StorageError("ImageMissing", `Image "${name}" does not exist and no size is given to make it with`);
    if (baseSizeBytes !== undefined && bytes < baseSizeBytes) {
      throw new StorageError("InvalidSize", `Image "${name}" cannot be made with ${bytes} bytes: its base has ${baseSizeBytes}`);
    }
    // The base was looked into: qemu-img is to write its name and not to open it.
    const overlay = base ? ["-u", "-b", join(directory.path, base.name), "-F", base.format] : [];
    await directory.remove(temporary);
    try {
      await using file = await directory.create(temporary, IMAGE_MODE);
      const args = ["create", "-q", "-f", format, ...overlay, INHERITED_PATH, String(bytes)];
      await this.#run({ program: "qemu-img", args, timeoutMs: CREATE_TIMEOUT_MS, descriptor: file.fd });
      await file.sync();
      return await directory.publish(temporary, checkedName(name));
    } finally {
      await directory.remove(temporary);
    }
  }

  async #checkBase(directory: OpenDirectory, base: Named): Promise<ImageHeader> {
    if (this.#bases.size > BASES_MAX) this.#bases.clear();
    const header = await this.#probe(directory, base, this.#bases);
    if (header === undefined) throw new StorageError("ImageMissing", `Base image "${base.name}" does not exist in the pool`);
    checkImage(header, base);
    return header;
  }

  /** The very file that was checked is read, so nothing can be put in its place meanwhile. */
  async #probe(directory: OpenDirectory, { name, format }: Named, probes: Probes): Promise<ImageHeader | undefined> {
    await using file = await directory.read(checkedName(name));
    if (file === undefined) return undefined;
    const path = join(directory.path, name);
    const stamp = `${format}:${await stampOf(file)}`;
    const known = probes.get(path);
    if (known?.stamp === stamp) return known.header;
    const header = await this.#reader.read({ name, file, format });
    probes.set(path, { stamp, header });
    return header;
  }
}

async function allocatedBytes(directory: OpenDirectory, name: string): Promise<number> {
  await using file = await directory.read(checkedName(name));
  return ((await file?.stat())?.blocks ?? 0) * STAT_BLOCK_BYTES;
}

/** Taken before the file is read: what is written meanwhile then shows. */
export async function stampOf(file: FileHandle): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await file.stat({ bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs].join(":");
}
