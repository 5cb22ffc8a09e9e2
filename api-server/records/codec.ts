/**
 * Between bytes and objects. A stored object's version is the commit that wrote it, so it is never in the bytes; secrets
 * are closed in them. The store hands the same bytes to every reader and watcher of a change, which are therefore decoded
 * once.
 */
import { InvalidArgument } from "../../lib/errors.ts";
import { type Kind, metaOf, type Resource } from "../kinds/kind.ts";
import { closeSecrets, hideSecrets, openSecrets } from "./secrets.ts";
import type { Vault } from "./vault.ts";

const OBJECT_BYTES_MAX = 1024 * 1024;

export function encodeObject<T extends Resource>(kind: Kind<T>, object: T, vault?: Vault): Uint8Array {
  const closed = vault ? closeSecrets(kind, object, vault) : object;
  const bytes = kind.codec.encode({ ...closed, metadata: { ...metaOf(object), resourceVersion: "" } }).finish();
  if (bytes.length <= OBJECT_BYTES_MAX) return bytes;
  throw new InvalidArgument([{ path: kind.field, message: `must be at most ${OBJECT_BYTES_MAX} bytes: current size is ${bytes.length}` }]);
}

/** Secrets stay closed. */
export function decodeObject<T extends Resource>(kind: Kind<T>, value: Uint8Array, revision: string): T {
  const object = kind.codec.decode(value);
  return { ...object, metadata: { ...metaOf(object), resourceVersion: revision } };
}

/** What decoded objects may stand for in encoded bytes; decoded, they take about ten times as much. */
const DECODED_BYTES_MAX = 8 * 1024 * 1024;

/** `opened` and `hidden` are made when they are asked for. The version is that of the first reader; others, such as that of a deletion, are made from it. */
type Known = { closed: Resource; opened: Resource | undefined; hidden: Resource | undefined };

/**
 * Decoded objects by the bytes that they came from, those that were asked for last. They are shared, not to be changed.
 */
export class Decoded {
  readonly #bytesMax: number;
  readonly #vault: Vault | undefined;
  readonly #known = new Map<Uint8Array, Known>();
  #bytes = 0;

  /** Without a vault secrets stand open in the bytes. */
  constructor(bytesMax = DECODED_BYTES_MAX, vault?: Vault) {
    this.#bytesMax = bytesMax;
    this.#vault = vault;
  }

  of<T extends Resource>(kind: Kind<T>): { read(value: Uint8Array, revision: string, revealed: boolean): T } {
    return { read: (value, revision, revealed) => this.#read(kind, { value, revision, revealed }) };
  }

  #read<T extends Resource>(kind: Kind<T>, { value, revision, revealed }: { value: Uint8Array; revision: string; revealed: boolean }): T {
    const known = this.#take(value) ?? { closed: decodeObject(kind, value, revision), opened: undefined, hidden: undefined };
    this.#keep(value, known);
    // Bytes are of one kind: their key begins with it.
    const closed = known.closed as T;
    if (revealed) known.opened ??= openSecrets(kind, closed, this.#vault);
    else known.hidden ??= hideSecrets(kind, closed);
    const object = (revealed ? known.opened : known.hidden) as T;
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
