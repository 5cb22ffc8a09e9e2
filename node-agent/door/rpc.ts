/** Frames of libvirt's RPC: a length, six words that say what it is, and a body (pure). */
import { xdr } from "./xdr.ts";

export const REMOTE_PROGRAM = 0x2000_8086;
export const KEEPALIVE_PROGRAM = 0x6b65_6570;
export const PROTOCOL_VERSION = 1;

export const messageType = { CALL: 0, REPLY: 1, MESSAGE: 2 } as const;

/** What a peer-to-peer migration asks of the target's daemon, and all that it asks. */
export const procedure = {
  CONNECT_OPEN: 1,
  CONNECT_CLOSE: 2,
  CONNECT_SUPPORTS_FEATURE: 60,
  AUTH_LIST: 66,
  DOMAIN_MIGRATE_PREPARE3_PARAMS: 303,
  DOMAIN_MIGRATE_FINISH3_PARAMS: 306,
  CONNECT_REGISTER_CLOSE_CALLBACK: 360,
  CONNECT_UNREGISTER_CLOSE_CALLBACK: 361,
} as const;

export const keepalive = { PING: 1, PONG: 2 } as const;

export type Frame = {
  program: number;
  version: number;
  procedure: number;
  type: number;
  serial: number;
  status: number;
  body: Buffer;
};

const LENGTH_BYTES = 4;
export const HEADER_BYTES = 28;

export class BadFrame extends Error {
  override name = "BadFrame";
}

/** Puts frames together from whatever pieces they come in. */
export class FrameReader {
  readonly #bytesMax: number;
  #pieces: Buffer[] = [];
  #length = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The frames that these bytes complete. Throws BadFrame on one that is too long or too short to be one. */
  push(bytes: Buffer): Frame[] {
    this.#pieces.push(bytes);
    this.#length += bytes.length;
    const frames: Frame[] = [];
    for (let frame = this.#next(); frame; frame = this.#next()) frames.push(frame);
    return frames;
  }

  #next(): Frame | undefined {
    if (this.#length < LENGTH_BYTES) return undefined;
    const length = this.#join(LENGTH_BYTES).readUInt32BE();
    if (length < HEADER_BYTES || length > this.#bytesMax) throw new BadFrame(`A message of ${length} bytes is not taken`);
    if (this.#length < length) return undefined;
    const all = this.#join(length);
    this.#pieces = all.length > length ? [all.subarray(length)] : [];
    this.#length -= length;
    return parse(all.subarray(0, length));
  }

  /** The first piece, made at least this long; the rest is joined only when a message is whole. */
  #join(length: number): Buffer {
    const first = this.#pieces[0];
    if (first && first.length >= length) return first;
    const all = Buffer.concat(this.#pieces);
    this.#pieces = [all];
    return all;
  }
}

function parse(bytes: Buffer): Frame {
  const word = (index: number) => bytes.readUInt32BE(LENGTH_BYTES * index);
  return { program: word(1), version: word(2), procedure: word(3), type: word(4), serial: word(5), status: word(6), body: bytes.subarray(HEADER_BYTES) };
}

export function encodeFrame({ program, version, procedure, type, serial, status, body }: Frame): Buffer {
  const words = [HEADER_BYTES + body.length, program, version, procedure, type, serial, status].map((word) => xdr.uint(word));
  return Buffer.concat([...words, body]);
}
