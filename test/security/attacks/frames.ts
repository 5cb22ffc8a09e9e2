/** HTTP/2 frames made by hand, as no library would send them. */
const TYPES = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, windowUpdate: 8, continuation: 9 } as const;
export const END_STREAM = 1;
export const END_HEADERS = 4;
const SETTING_INITIAL_WINDOW = 4;

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

type Place = { stream?: number; flags?: number };

export function frame(type: keyof typeof TYPES, payload: Buffer, { stream = 0, flags = 0 }: Place = {}): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(TYPES[type], 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function settings({ initialWindow }: { initialWindow?: number } = {}): Buffer {
  if (initialWindow === undefined) return frame("settings", Buffer.alloc(0));
  const payload = Buffer.alloc(6);
  payload.writeUInt16BE(SETTING_INITIAL_WINDOW, 0);
  payload.writeUInt32BE(initialWindow, 2);
  return frame("settings", payload);
}

export const settingsAcknowledged = (): Buffer => frame("settings", Buffer.alloc(0), { flags: 1 });

export const ping = (): Buffer => frame("ping", Buffer.alloc(8, 7));

export function reset(stream: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(8); // CANCEL
  return frame("reset", payload, { stream });
}

export function windowUpdate(stream: number, by = 1): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(by);
  return frame("windowUpdate", payload, { stream });
}

/** HPACK's integer with a prefix of so many bits. */
function integer(value: number, prefixBits: number, high = 0): Buffer {
  const most = 2 ** prefixBits - 1;
  if (value < most) return Buffer.from([high | value]);
  const bytes = [high | most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}

const text = (value: string): Buffer => Buffer.concat([integer(Buffer.byteLength(value), 7), Buffer.from(value)]);

/** A header field in full; `indexed` leaves it in the decoder's table. */
export const field = (name: string, value: string, { indexed = false } = {}): Buffer => Buffer.concat([Buffer.from([indexed ? 0x40 : 0x00]), text(name), text(value)]);

/** The newest entry of the decoder's table, in one byte. */
export const NEWEST = Buffer.from([0x80 | 62]);

export function callHeaders(path: string, extra: Record<string, string> = {}): Buffer {
  const fields = { ":method": "POST", ":scheme": "https", ":path": path, ":authority": "drover", te: "trailers", "content-type": "application/grpc", ...extra };
  return Buffer.concat(Object.entries(fields).map(([name, value]) => field(name, value)));
}

/** A gRPC message in DATA frames of what a peer takes at once. */
export function message(body: Buffer, { stream, compressed = false }: { stream: number; compressed?: boolean }): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed ? 1 : 0, 0);
  head.writeUInt32BE(body.length, 1);
  const whole = Buffer.concat([head, body]);
  const frames: Buffer[] = [];
  for (let at = 0; at < whole.length; at += 16_384) {
    const flags = at + 16_384 >= whole.length ? END_STREAM : 0;
    frames.push(frame("data", whole.subarray(at, at + 16_384), { stream, flags }));
  }
  return Buffer.concat(frames);
}
