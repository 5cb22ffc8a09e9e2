/**
 * One open image over a socket, to read only: NBD, as far as qemu-img speaks it. Whoever reads the image at the other end
 * needs no file of the host, and so no right to any.
 */
import type { FileHandle } from "node:fs/promises";
import type { Duplex } from "node:stream";

const SERVER_MAGIC = Buffer.from("NBDMAGICIHAVEOPT", "latin1");
const OPTION_REPLY_MAGIC = 0x3e889045565a9n;
const REQUEST_MAGIC = 0x25609513;
const REPLY_MAGIC = 0x67446698;
/** Fixed newstyle, and no zeroes after the old form of the handshake. */
const HANDSHAKE_FLAGS = 3;
const OPTION = { abort: 2, go: 7 };
const REPLY = { acknowledged: 1, info: 3, unsupported: 0x80000001 };
const INFO_EXPORT = 0;
/** The flags are there, and nothing may be written. */
const EXPORT_FLAGS = 3;
const REQUEST = { read: 0, disconnect: 2, flush: 3 };
const FAULT = { none: 0, invalid: 22 };

const OPTION_BYTES_MAX = 4096;
const READ_BYTES_MAX = 32 << 20;
/** A header with its tables is far below it; who asks for more has been led astray by what it read. */
const TOTAL_BYTES_MAX = 128 << 20;
/** QEMU waits for ever for what would come after the end of an image that is not made of whole blocks: zeroes. */
const BLOCK_BYTES = 512;

export type ExportedImage = { file: FileHandle; sizeBytes: number };

/** The other end does not speak the protocol, or reads more than any header has. */
class Misused extends Error {
  override name = "Misused";
}

type Take = (bytes: number) => Promise<Buffer | undefined>;

/** Serves until the other end hangs up or misbehaves, and then closes the socket. Never fails. */
export async function exportImage(socket: Duplex, { file, sizeBytes }: ExportedImage): Promise<void> {
  const image = { file, sizeBytes: Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES };
  // It may be killed at any moment; what came of it is seen in its exit.
  socket.on("error", () => undefined);
  try {
    const take = takerOf(socket);
    if (await shakeHands(socket, take, image)) await answerReads(socket, take, image);
    socket.end();
  } catch {
    socket.destroy();
  }
}

/** Undefined at the end of what comes. */
function takerOf(socket: Duplex): Take {
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let held: Buffer = Buffer.alloc(0);
  return async (bytes) => {
    while (held.length < bytes) {
      const { done, value } = await chunks.next();
      if (done) return undefined;
      held = Buffer.concat([held, value]);
    }
    const taken = held.subarray(0, bytes);
    held = held.subarray(bytes);
    return taken;
  };
}

/** Answers whether the other end wants to read now. */
async function shakeHands(socket: Duplex, take: Take, { sizeBytes }: ExportedImage): Promise<boolean> {
  const flags = Buffer.alloc(2);
  flags.writeUInt16BE(HANDSHAKE_FLAGS);
  await say(socket, Buffer.concat([SERVER_MAGIC, flags]));
  if ((await take(4)) === undefined) return false;
  for (;;) {
    const head = await take(16);
    if (head === undefined) return false;
    const [option, length] = [head.readUInt32BE(8), head.readUInt32BE(12)];
    if (length > OPTION_BYTES_MAX) throw new Misused("An option is too long");
    await take(length);
    if (option === OPTION.go) {
      await say(socket, optionReply(option, REPLY.info, exportInfo(sizeBytes)));
      await say(socket, optionReply(option, REPLY.acknowledged));
      return true;
    }
    await say(socket, optionReply(option, option === OPTION.abort ? REPLY.acknowledged : REPLY.unsupported));
    if (option === OPTION.abort) return false;
  }
}

function exportInfo(sizeBytes: number): Buffer {
  const info = Buffer.alloc(12);
  info.writeUInt16BE(INFO_EXPORT, 0);
  info.writeBigUInt64BE(BigInt(sizeBytes), 2);
  info.writeUInt16BE(EXPORT_FLAGS, 10);
  return info;
}

function optionReply(option: number, reply: number, content: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(20);
  head.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0);
  head.writeUInt32BE(option, 8);
  head.writeUInt32BE(reply, 12);
  head.writeUInt32BE(content.length, 16);
  return Buffer.concat([head, content]);
}

async function answerReads(socket: Duplex, take: Take, { file, sizeBytes }: ExportedImage): Promise<void> {
  let total = 0;
  for (;;) {
    const request = await take(28);
    if (request === undefined) return;
    const [type, handle, offset, length] = [request.readUInt16BE(6), request.subarray(8, 16), request.readBigUInt64BE(16), request.readUInt32BE(24)];
    if (request.readUInt32BE(0) !== REQUEST_MAGIC || type === REQUEST.disconnect) return;
    const isRead = type === REQUEST.read;
    const isWithin = length <= READ_BYTES_MAX && offset + BigInt(length) <= BigInt(sizeBytes);
    if (isRead && isWithin) {
      total += length;
      if (total > TOTAL_BYTES_MAX) throw new Misused("It reads more than a header");
      const content = Buffer.alloc(length);
      await file.read(content, 0, length, Number(offset));
      await say(socket, Buffer.concat([reply(FAULT.none, handle), content]));
    } else if (isRead) await say(socket, reply(FAULT.invalid, handle));
    else if (type === REQUEST.flush) await say(socket, reply(FAULT.none, handle));
    // What else there is brings bytes along, which would be taken for the next request.
    else throw new Misused("It does not only read");
  }
}

function reply(fault: number, handle: Buffer): Buffer {
  const head = Buffer.alloc(16);
  head.writeUInt32BE(REPLY_MAGIC, 0);
  head.writeUInt32BE(fault, 4);
  handle.copy(head, 8);
  return head;
}

/** Waits when the other end does not take what it asked for. */
function say(socket: Duplex, content: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(content, (error) => (error ? reject(error) : resolve()));
  });
}
