/**
 * Reads the header of an image that may come from anywhere. What it is shows in its first bytes, which need no parser; a
 * header is parsed by qemu-img with the declared format, in a sandbox, over a socket that leads to this one image.
 */
import type { FileHandle } from "node:fs/promises";
import type { ImageFormat } from "../domain/parts.ts";
import type { RunCommand } from "./command.ts";
import { detectFormat, SIGN_BYTES } from "./image-format.ts";
import { mismatch, parseImageHeader } from "./image-header.ts";
import type { ImageHeader } from "./image-header.ts";
import { Sandbox } from "./sandbox.ts";
import { StorageError } from "./storage.ts";

const PROBE_TIMEOUT_MS = 15_000;
const INFO = ["qemu-img", "info", "--output=json", "--image-opts"];
/** The image is at the other end of descriptor 3. */
const optionsOf = (format: ImageFormat) => `driver=${format},file.driver=nbd,file.server.type=fd,file.server.str=3`;

export class ImageReader {
  readonly #run: RunCommand;
  readonly #sandbox: Sandbox;

  constructor(run: RunCommand) {
    this.#run = run;
    this.#sandbox = new Sandbox(run);
  }

  /** Throws a StorageError when the image is of another format than declared, or of none that can be read. */
  async read({ name, file, format }: { name: string; file: FileHandle; format: ImageFormat }): Promise<ImageHeader> {
    const { size: sizeBytes } = await file.stat();
    const head = Buffer.alloc(SIGN_BYTES);
    const { bytesRead } = await file.read(head, 0, SIGN_BYTES, 0);
    const found = detectFormat(head.subarray(0, bytesRead));
    if (found !== format) throw mismatch(name, { declared: format, found });
    // A raw image has no header that could say anything.
    if (format === "raw") return { format, virtualSizeBytes: sizeBytes, isEncrypted: false, hasDataFile: false };
    return this.#ask({ name, format, image: { file, sizeBytes } });
  }

  async #ask({ name, format, image }: { name: string; format: ImageFormat; image: { file: FileHandle; sizeBytes: number } }): Promise<ImageHeader> {
    const command = await this.#sandbox.around([...INFO, optionsOf(format)]);
    try {
      return parseImageHeader(await this.#run({ ...command, timeoutMs: PROBE_TIMEOUT_MS, image }));
    } catch (error) {
      if (!(error instanceof StorageError) || error.fault !== "ToolFailed") throw error;
      throw new StorageError("UnsafeImage", `Image "${name}" cannot be read: ${error.message}`, { cause: error });
    }
  }
}
