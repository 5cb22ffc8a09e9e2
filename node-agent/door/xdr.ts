/** XDR, the encoding of libvirt's calls: big-endian words, and strings that are padded to whole words (pure). */

const WORD = 4;
const HYPER = 8;

/** The bytes are no such value. */
export class XdrFault extends Error {
  override name = "XdrFault";
}

export class XdrReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  uint(): number {
    return this.#take(WORD).readUInt32BE();
  }

  int(): number {
    return this.#take(WORD).readInt32BE();
  }

  /** Kept as they are: nothing here calculates with 64 bits. */
  hyper(): Buffer {
    return this.#take(HYPER);
  }

  opaque(): Buffer {
    const length = this.uint();
    const bytes = this.#take(length);
    const padding = this.#take(paddingOf(length));
    if (padding.some((byte) => byte !== 0)) throw new XdrFault("The padding is not empty");
    return bytes;
  }

  string(): string {
    const bytes = this.opaque();
    const text = bytes.toString("utf8");
    // A zero would end the string early for whoever reads it in C; a broken character would change in its second writing.
    if (bytes.includes(0) || !Buffer.from(text).equals(bytes)) throw new XdrFault("A string is no text");
    return text;
  }

  optionalString(): string | undefined {
    switch (this.uint()) {
      case 0:
        return undefined;
      case 1:
        return this.string();
      default:
        throw new XdrFault("A value is neither present nor absent");
    }
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw new XdrFault("More follows than was said");
  }

  #take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new XdrFault("The bytes end too early");
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}

const paddingOf = (length: number): number => (WORD - (length % WORD)) % WORD;

export const xdr = {
  uint(value: number): Buffer {
    const bytes = Buffer.alloc(WORD);
    bytes.writeUInt32BE(value);
    return bytes;
  },
  int(value: number): Buffer {
    const bytes = Buffer.alloc(WORD);
    bytes.writeInt32BE(value);
    return bytes;
  },
  opaque: (bytes: Buffer): Buffer => Buffer.concat([xdr.uint(bytes.length), bytes, Buffer.alloc(paddingOf(bytes.length))]),
  string: (text: string): Buffer => xdr.opaque(Buffer.from(text)),
};
