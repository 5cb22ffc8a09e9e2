/** Images: made by qemu-img under a name of their own, and looked into before a guest gets them. */
import { rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { DiskSource, ImageFormat } from "../domain/parts.ts";
import { INHERITED_PATH } from "./command.ts";
import type { RunCommand } from "./command.ts";
import { publish } from "./durable-file.ts";
import { checkImage, parseImageHeader } from "./image-header.ts";
import type { ImageHeader } from "./image-header.ts";
import { openPoolFile } from "./pool.ts";
import { StorageError } from "./storage.ts";

export type ImageRequest = {
  directory: string;
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

const PROBE_TIMEOUT_MS = 15_000;
const CREATE_TIMEOUT_MS = 120_000;
/** An image from elsewhere may be made to exhaust whoever reads it: 1 GiB of memory, 10 s of processor, no writing. */
const PROBE_LIMITS = ["--as=1073741824", "--cpu=10", "--fsize=0", "--core=0", "--nofile=64"];

export class Images {
  readonly #run: RunCommand;
  constructor(run: RunCommand) {
    this.#run = run;
  }

  /** The image if it is there and may be used; undefined when there is none. */
  async find({ directory, name, format, base, probes }: ImageRequest): Promise<Image | undefined> {
    const header = await this.#probe(directory, name, probes);
    if (header === undefined) return undefined;
    const declared = base && { path: join(directory, base.name), format: base.format };
    checkImage(header, { name, format, ...(declared && { base: declared }) });
    if (base !== undefined) await this.#checkBase(directory, base, probes);
    return { path: join(directory, name), format, ...(declared && header.backing && { base: declared }) };
  }

  async findOrCreate(request: ImageRequest): Promise<Image> {
    const found = await this.find(request);
    if (found !== undefined) return found;
    await this.#create(request);
    const made = await this.find(request);
    if (made === undefined) throw new StorageError("ImageMissing", `Image "${request.name}" went away right after it was made`);
    return made;
  }

  async #create(request: ImageRequest): Promise<void> {
    const { directory, name, format, base, sizeBytes, temporary, probes } = request;
    const baseSizeBytes = base && (await this.#checkBase(directory, base, probes)).virtualSizeBytes;
    const bytes = sizeBytes ?? baseSizeBytes;
    if (bytes === undefined) throw new StorageError("ImageMissing", `Image "${name}" does not exist and no size is given to make it with`);
    if (baseSizeBytes !== undefined && bytes < baseSizeBytes) {
      throw new StorageError("InvalidSize", `Image "${name}" cannot be made with ${bytes} bytes: its base has ${baseSizeBytes}`);
    }
    const overlay = base ? ["-b", join(directory, base.name), "-F", base.format] : [];
    const unfinished = join(directory, temporary);
    await rm(unfinished, { force: true });
    try {
      await this.#run({ program: "qemu-img", args: ["create", "-q", "-f", format, ...overlay, unfinished, String(bytes)], timeoutMs: CREATE_TIMEOUT_MS });
      await publish(unfinished, join(directory, name));
    } finally {
      await rm(unfinished, { force: true });
    }
  }

  async #checkBase(directory: string, base: { name: string; format: ImageFormat }, probes: Probes): Promise<ImageHeader> {
    const header = await this.#probe(directory, base.name, probes);
    if (header === undefined) throw new StorageError("ImageMissing", `Base image "${base.name}" does not exist in the pool`);
    checkImage(header, base);
    return header;
  }

  /** The very file that was checked is handed over open, so nothing can be put in its place meanwhile. */
  async #probe(directory: string, name: string, probes: Probes): Promise<ImageHeader | undefined> {
    const opened = await openPoolFile(directory, name);
    if (opened === undefined) return undefined;
    const { path } = opened;
    await using file = opened.file;
    const stamp = await stampOf(file);
    const known = probes.get(path);
    if (known?.stamp === stamp) return known.header;
    const header = await this.#read(name, file);
    probes.set(path, { stamp, header });
    return header;
  }

  async #read(name: string, file: FileHandle): Promise<ImageHeader> {
    const args = [...PROBE_LIMITS, "--", "qemu-img", "info", "--output=json", "-U", INHERITED_PATH];
    try {
      return parseImageHeader(await this.#run({ program: "prlimit", args, timeoutMs: PROBE_TIMEOUT_MS, descriptor: file.fd }));
    } catch (error) {
      if (!(error instanceof StorageError) || error.fault !== "ToolFailed") throw error;
      throw new StorageError("UnsafeImage", `Image "${name}" cannot be read: ${error.message}`, { cause: error });
    }
  }
}

/** Taken before the file is read: what is written meanwhile then shows. */
async function stampOf(file: FileHandle): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await file.stat({ bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs].join(":");
}
