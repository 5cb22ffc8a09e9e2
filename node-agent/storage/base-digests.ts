/**
 * What is in a base image, as one number: an overlay may be copied alone only where its base is the very same. A digest is
 * kept as long as the file stays as it is.
 */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { OpenDirectory } from "./directory.ts";
import { stampOf } from "./images.ts";

const CHUNK_BYTES = 1 << 20;
const KNOWN_MAX = 256;

export class BaseDigests {
  readonly #bytesMax: number;
  readonly #known = new Map<string, { stamp: string; digest: string }>();
  readonly #running = new Map<string, Promise<void>>();

  /** A base of more bytes is read while others go on: its digest is known later. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** In hexadecimal digits; empty while it is not known, or when there is no such file. */
  async of(directory: OpenDirectory, name: string): Promise<string> {
    const path = join(directory.path, name);
    const file = await directory.read(name);
    if (file === undefined) return "";
    const [stamp, { size }] = [await stampOf(file), await file.stat()];
    const known = this.#known.get(path);
    if (known?.stamp === stamp) {
      await file.close();
      return known.digest;
    }
    const running = this.#running.get(path);
    if (running) await file.close();
    const reading = running ?? this.#read(path, file, stamp);
    if (size > this.#bytesMax) return "";
    await reading;
    const found = this.#known.get(path);
    return found?.stamp === stamp ? found.digest : "";
  }

  #read(path: string, file: FileHandle, stamp: string): Promise<void> {
    const reading = (async () => {
      await using opened = file;
      const digest = await digestOf(opened);
      // What was written meanwhile is in a part of it at best.
      if ((await stampOf(opened)) !== stamp) return;
      if (this.#known.size >= KNOWN_MAX) this.#known.clear();
      this.#known.set(path, { stamp, digest });
    })().catch(() => undefined).finally(() => this.#running.delete(path));
    this.#running.set(path, reading);
    return reading;
  }
}

async function digestOf(file: FileHandle): Promise<string> {
  const hash = createHash("sha256");
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (let at = 0; ; ) {
    const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES, at);
    if (bytesRead === 0) return hash.digest("hex");
    hash.update(chunk.subarray(0, bytesRead));
    at += bytesRead;
  }
}
