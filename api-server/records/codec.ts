/**
 * Between bytes and objects. A stored object's version is the commit that wrote it, so it is never in the bytes. The
 * store hands the same bytes to every reader and watcher of a change, which are therefore decoded once.
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

/** What decoded objects may stand for in encoded bytes; decoded, they take about ten times as much. */
const DECODED_BYTES_MAX = 8 * 1024 * 1024;

/** `hidden` is made when it is asked for. The version is that of the first reader; others, such as that of a deletion, are made from it. */
type Known = { full: Resource; hidden: Resource | undefined };

/**
 * Decoded objects by the bytes that they came from, those that were asked for last. They are shared, not to be changed.
 */
export class Decoded {
  readonly #bytesMax: number;
  readonly #known = new Map<Uint8Array, Known>();
  #bytes = 0;

  constructor(bytesMax = DECODED_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  of<T extends Resource>(kind: Kind<T>): { read(value: Uint8Array, revision: string, revealed: boolean): T } {
    return { read: (value, revision, revealed) => this.#read(kind, { value, revision, revealed }) };
  }

  #read<T extends Resource>(kind: Kind<T>, { value, revision, revealed }: { value: Uint8Array; revision: string; revealed: boolean }): T {
    const known = this.#take(value) ?? { full: decodeObject(kind, value, revision), hidden: undefined };
    this.#keep(value, known);
    if (!revealed) known.hidden ??= hideSecrets(kind, known.full as T);
    // Bytes are of one kind: their key begins with it.
    const object = (revealed ? known.full : known.hidden) as T;
    const metadata = metaOf(object);
    return metadata.resourceVersion === revision ? object : { ...object, metadata: { ...metadata, resourceVersion: revision } };
  }

  #take(value: Uint8Array): Known | undefined {
    const known = this.#known.get(value);
    if (known === undefined || !this.#known.delete(value)) return undefined;
    this.#bytes -= value.length;
    return known;
  }

  #keep(value: Uint8Array, known: Known): void {
    this.#known.set(value, known);
    this.#bytes += value.length;
    for (const oldest of this.#known.keys()) {
      if (this.#bytes <= this.#bytesMax) return;
      this.#known.delete(oldest);
      this.#bytes -= oldest.length;
    }
  }
}
