/**
 * One HTTP/2 connection and what it may cost. What a peer can make the server do without a call counts as nuisance, as do
 * calls that are refused; a connection on which nobody has been identified yet may hardly send anything.
 */
import type { Http2Session, IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { constants } from "node:http2";
import type { TLSSocket } from "node:tls";
import type { CompatServiceDefinition } from "nice-grpc";
import type { Clock } from "../../lib/clock.ts";
import { Bucket, type Rate } from "./bucket.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Whether it showed a certificate of the authority, or somebody has been identified by a call on it. */
type Standing = "unproven" | "proven";

/** Pings, settings, cancelled calls, refused calls, and calls by nobody. Some clients ping as they read, so what is sent gives some back. */
const NUISANCE: Record<Standing, Rate> = { unproven: { burst: 100, perSecond: 20 }, proven: { burst: 500, perSecond: 50 } };
const BYTES_SENT_PER_NUISANCE = KIB;
/** In bytes received: room for the largest first request, and then for next to nothing. */
const BYTES: Record<Standing, Rate> = { unproven: { burst: 2 * MIB, perSecond: 64 * KIB }, proven: { burst: 64 * MIB, perSecond: 16 * MIB } };
const PREFACE_TIMEOUT_MS = 10_000;
const UNPROVEN_IDLE_MS = 60_000;
/** For a single request to arrive whole. */
const REQUEST_TIMEOUT_MS: Record<Standing, number> = { unproven: 10_000, proven: 30_000 };
/** A few bytes of it may be a mebibyte of work. */
const COST_OF_COMPRESSED = 4;
/** For a call of one request and one answer, until the last byte of that is on its way. */
const UNARY_LIFE_MS = 90_000;
/** Answers that the peer does not read: from here on it gets no more of them. */
const UNREAD_BYTES_FULL = 4 * MIB;
const UNREAD_BYTES_MAX = 32 * MIB;
const STREAMS_WITHOUT_COUNTING = 8;

/** Whether requests and answers of this path are streams. */
export type Streaming = { requestStream: boolean; responseStream: boolean };
type Definition = { fullName: string; methods: Record<string, Streaming & { name: string }> };

/** By path; what is not served, or has no row of its own, is one request and one answer, but for the description's. */
export function streamingOf(definitions: readonly CompatServiceDefinition[]): (path: string) => Streaming {
  const rows = new Map<string, Streaming>();
  for (const { fullName, methods } of definitions as unknown as Definition[]) {
    for (const { name, requestStream, responseStream } of Object.values(methods)) rows.set(`/${fullName}/${name}`, { requestStream, responseStream });
  }
  return (path) => rows.get(path) ?? (path.startsWith("/grpc.") ? BOTH : NEITHER);
}

const BOTH: Streaming = { requestStream: true, responseStream: true };
const NEITHER: Streaming = { requestStream: false, responseStream: false };

export type ConnectionParts = {
  clock: Clock;
  streaming: (path: string) => Streaming;
  /** It was cut for this. */
  onCut: (reason: string) => void;
  /** It is no stranger's any more. */
  onProven: () => void;
  /** Whether strangers may have another call under way. */
  admitsStranger: () => boolean;
};

export class Connection {
  readonly #session: Http2Session;
  readonly #parts: ConnectionParts;
  readonly #openedMs: number;
  readonly #streams = new Map<ServerHttp2Stream, Streaming & { openedMs: number }>();
  #nuisance: Bucket;
  #bytes: Bucket;
  #standing: Standing = "unproven";
  #hasSettings = false;
  #seenBytes = { read: 0, written: 0 };
  #wasStuffed = false;

  constructor(session: Http2Session, parts: ConnectionParts) {
    this.#session = session;
    this.#parts = parts;
    this.#nuisance = new Bucket(parts.clock, NUISANCE.unproven);
    this.#bytes = new Bucket(parts.clock, BYTES.unproven);
    this.#openedMs = parts.clock.monotonicMs();
    if ((session.socket as Partial<TLSSocket>).authorized) this.prove();
    session.on("ping", () => this.nuisance("pings"));
    session.on("remoteSettings", () => {
      if (this.#hasSettings) this.nuisance("settings");
      this.#hasSettings = true;
    });
    session.on("stream", (stream: ServerHttp2Stream, headers) => this.#opened(stream, headers));
    session.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code?.startsWith("ERR_HTTP2")) parts.onCut(error.message);
    });
  }

  prove(): void {
    if (this.#standing === "proven") return;
    this.#standing = "proven";
    this.#parts.onProven();
    this.#nuisance = new Bucket(this.#parts.clock, NUISANCE.proven);
    this.#bytes = new Bucket(this.#parts.clock, BYTES.proven);
  }

  nuisance(what: string, amount = 1): void {
    if (!this.#nuisance.charge(amount)) this.cut(what);
  }

  /** What waits to be read by the peer. */
  get unreadBytes(): number {
    let bytes = 0;
    for (const stream of this.#streams.keys()) bytes += stream.writableLength;
    return bytes;
  }

  /** Calls under way on it while nobody knows whose. */
  get strangeCalls(): number {
    return this.#standing === "unproven" ? this.#streams.size : 0;
  }

  /** Whether another call may be answered on it. */
  get hasRoom(): boolean {
    return this.#streams.size <= STREAMS_WITHOUT_COUNTING || this.unreadBytes <= UNREAD_BYTES_FULL;
  }

  /** To be called often: what shows only with time. Answers the bytes that wait to be read. */
  look(): number {
    const ageMs = this.#parts.clock.monotonicMs() - this.#openedMs;
    if (!this.#hasSettings && ageMs > PREFACE_TIMEOUT_MS) this.cut("no preface");
    if (this.#standing === "unproven" && ageMs > UNPROVEN_IDLE_MS && this.#streams.size === 0) this.#session.close();
    this.#countBytes();
    this.#endLateStreams();
    const unreadBytes = this.unreadBytes;
    const isStuffed = unreadBytes > UNREAD_BYTES_MAX;
    if (isStuffed && this.#wasStuffed) this.cut("unread answers");
    this.#wasStuffed = isStuffed;
    return unreadBytes;
  }

  cut(reason: string): void {
    if (this.#session.destroyed) return;
    this.#parts.onCut(reason);
    this.#session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }

  #opened(stream: ServerHttp2Stream, { ":path": path = "", "grpc-encoding": encoding = "identity" }: IncomingHttpHeaders): void {
    const { streaming, clock, admitsStranger } = this.#parts;
    this.#streams.set(stream, { ...streaming(path), openedMs: clock.monotonicMs() });
    stream.once("close", () => {
      this.#streams.delete(stream);
      if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM) return;
      if (this.#standing === "unproven") this.nuisance("calls by nobody");
      if (stream.aborted) this.nuisance("cancelled calls");
    });
    if (this.#standing === "proven") return;
    if (encoding !== "identity") this.nuisance("compressed calls by nobody", COST_OF_COMPRESSED);
    // The client may try that call again as if nothing had been.
    if (!admitsStranger()) stream.close(constants.NGHTTP2_REFUSED_STREAM);
  }

  #countBytes(): void {
    if (this.#session.destroyed) return;
    const { bytesRead: read, bytesWritten: written } = this.#session.socket;
    this.#nuisance.credit((written - this.#seenBytes.written) / BYTES_SENT_PER_NUISANCE);
    if (!this.#bytes.charge(read - this.#seenBytes.read)) this.cut("bytes received");
    this.#seenBytes = { read, written };
  }

  #endLateStreams(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    for (const [stream, { openedMs, requestStream, responseStream }] of this.#streams) {
      const ageMs = nowMs - openedMs;
      const isLate = !requestStream && ((ageMs > REQUEST_TIMEOUT_MS[this.#standing] && !stream.readableEnded) || (ageMs > UNARY_LIFE_MS && !responseStream));
      if (isLate) stream.close(constants.NGHTTP2_CANCEL);
    }
  }
}
