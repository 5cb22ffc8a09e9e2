import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import type { Socket } from "node:net";
import { once } from "node:events";
import { execFileSync, spawn } from "node:child_process";
import { buffer } from "node:stream/consumers";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportImage } from "../../../../node-agent/storage/block-export.ts";

const SIZE = 300_000;

describe("exportImage", () => {
  let place: string;
  let image: string;
  beforeEach(async () => {
    place = await mkdtemp(join(tmpdir(), "drover-export-"));
    image = join(place, "image");
    await writeFile(image, Buffer.from(Array.from({ length: SIZE }, (_, index) => (index * 7) % 251)));
  });
  afterEach(() => rm(place, { recursive: true }));

  /** The image on a socket at a path, for one client after another. */
  async function exported(): Promise<{ socket: string; idle: () => Promise<void> } & AsyncDisposable> {
    const socket = join(place, "socket");
    const file = await open(image, "r");
    const serving: Promise<void>[] = [];
    const server = createServer({ allowHalfOpen: true }, (client) => void serving.push(exportImage(client, { file, sizeBytes: SIZE }))).listen(socket);
    await once(server, "listening");
    return {
      socket,
      idle: async () => void (await Promise.all(serving)),
      [Symbol.asyncDispose]: async () => {
        server.close();
        await file.close();
      },
    };
  }

  async function said(socket: string, ...words: Buffer[]): Promise<Buffer> {
    const client: Socket = connect(socket);
    client.on("error", () => undefined);
    client.end(Buffer.concat(words));
    return buffer(client);
  }
  const hello = Buffer.from([0, 0, 0, 3]);
  const option = (number: number, length = 0) => {
    const head = Buffer.from("IHAVEOPT--------", "latin1");
    head.writeUInt32BE(number, 8);
    head.writeUInt32BE(length, 12);
    return head;
  };
  const request = (type: number, offset: number, length: number) => {
    const head = Buffer.alloc(28);
    head.writeUInt32BE(0x25609513);
    head.writeUInt16BE(type, 6);
    head.write("handle!!", 8);
    head.writeBigUInt64BE(BigInt(offset), 16);
    head.writeUInt32BE(length, 24);
    return head;
  };
  const GO = 7;
  const [READ, WRITE] = [0, 1];
  const GREETING_BYTES = 18;
  const GO_REPLY_BYTES = 20 + 12 + 20;
  const START = GREETING_BYTES + GO_REPLY_BYTES;

  it("shows qemu-img the very bytes of the image", async () => {
    await using it = await exported();
    const convert = spawn("qemu-img", ["convert", "-f", "raw", "-O", "raw", `nbd+unix:///?socket=${it.socket}`, join(place, "copy")]);
    assert.deepEqual(await once(convert, "close"), [0, null]);
    await it.idle();
    const digest = (path: string) => createHash("sha256").update(execFileSync("head", ["-c", String(SIZE), path])).digest("hex");
    assert.equal(digest(join(place, "copy")), digest(image));
  });

  it("answers a read beyond the end with an error and goes on", async () => {
    await using it = await exported();
    const answer = await said(it.socket, hello, option(GO), request(READ, SIZE, 512), request(READ, 0, 4));
    assert.equal(answer.readUInt32BE(START + 4), 22);
    assert.deepEqual([...answer.subarray(START + 16 + 16)], [0, 7, 14, 21]);
  });

  it("hangs up on a write, and on words that it does not know", async () => {
    await using it = await exported();
    assert.equal((await said(it.socket, hello, option(GO), request(WRITE, 0, 4), Buffer.from("evil"))).length, START);
    assert.equal((await said(it.socket, hello, option(GO), Buffer.alloc(28))).length, START);
    assert.equal((await said(it.socket, hello, option(GO, 1 << 30))).length, GREETING_BYTES);
    await it.idle();
  });

  it("hangs up on whoever reads more than a header", async () => {
    await using it = await exported();
    const reads = Array.from({ length: 600 }, () => request(READ, 0, 299_008));
    const answer = await said(it.socket, hello, option(GO), ...reads);
    assert.ok(answer.length <= START + (128 << 20) + 600 * 16, `${answer.length} bytes`);
    assert.ok(answer.length > 100 << 20);
  });
});
