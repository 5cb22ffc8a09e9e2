/**
 * Between bytes and objects. A stored object's version is the commit that wrote it, so it is never in the bytes. Every
 * watcher of a change is handed the same bytes, which are therefore decoded once.
 */
import { InvalidArgument } from "../../lib/errors.ts";
import { type Kind, metaOf, type Resource } from "../kinds/kind.ts";
import { hideSecrets } from "./secrets.ts";

const OBJECT_BYTES_MAX = 1024 * 1024;

export function encodeObject<T extends Resource>(kind: Kind<T>, object: T): Uint8Array {
  const bytes = kind.codec.encode({ ...object, metadata: { ...metaOf(object), resourceVersion: "" } }).finish();
  if (bytes.length <= OBJECT_BYTES_MAX) return bytes;
  throw new InvalidArgument([{ path: kind.field, message: `must be at most ${OBJECT_BYTES_MAX} bytes: current size is ${bytes.length}` }]);
}

export function decodeObject<T extends Resource>(kind: Kind<T>, value: Uint8Array, revision: string): T {
  const object = kind.codec.decode(value);
  return { ...object, metadata: { ...metaOf(object), resourceVersion: revision } };
}

/** Decoded objects by the bytes that they came from; gone with the bytes. */
export class DecodedOnce<T extends Resource> {
  readonly #kind: Kind<T>;
  readonly #full = new WeakMap<Uint8Array, T>();
  readonly #hidden = new WeakMap<Uint8Array, T>();

  constructor(kind: Kind<T>) {
    this.#kind = kind;
  }

  read(value: Uint8Array, revision: string, revealed: boolean): T {
    const cache = revealed ? this.#full : this.#hidden;
    const known = cache.get(value);
    if (known && metaOf(known).resourceVersion === revision) return known;
    const full = decodeObject(this.#kind, value, revision);
    const object = revealed ? full : hideSecrets(this.#kind, full);
    cache.set(value, object);
    return object;
  }
}
