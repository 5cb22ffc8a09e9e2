/**
 * A guest's console as libvirt's stream, each on a lane of its own that ends with it. One loop makes all its calls, so
 * there is never a second one in flight; libvirt's callback only wakes that loop.
 *
 * libvirt has no way to slow the daemon down: what comes is read at once and waits here for the agent's credit. A
 * reader that is too slow for too much of it loses the stream rather than this process its memory.
 */
import { consoleFlag, streamEvent, streamFlag } from "../constants.ts";
import { HypervisorError } from "../hypervisor.ts";
import type { FromDriver, Operations, StreamRequest } from "../protocol.ts";
import type { Connection } from "./connection.ts";
import { withDomain } from "./domains.ts";
import { WOULD_BLOCK } from "./lane.ts";
import type { Lane } from "./lane.ts";
import type { Library, Pointer } from "./library.ts";

const RECEIVE_BYTES = 64 * 1024;
export const UNREAD_BYTES_MAX = 1 << 20;

const OVER = streamEvent.ERROR | streamEvent.HANGUP;

type Send = (message: FromDriver) => void;
type Opening = Operations["openConsole"]["arguments"];

/** Every stream of this process by the agent's number for it, and the one C function that they all are woken by. */
export class Streams {
  readonly #open = new Map<number, Stream>();
  /** Connections of which the loss ends their streams. */
  readonly #watched = new WeakMap<Connection, Set<Stream>>();
  readonly #ready: Pointer;
  readonly #library: Library;
  readonly #send: Send;

  constructor(library: Library, send: Send) {
    this.#library = library;
    this.#send = send;
    this.#ready = library.callback("streamReady", (_stream: Pointer, events: number, opaque: number | bigint) => {
      this.#open.get(Number(opaque))?.ready(events);
    });
  }

  /** Resolves once the console is open; what becomes of it then is told by messages. */
  async open(connection: Connection, { uuid, stream: number, force, creditBytes }: Opening): Promise<void> {
    const opened = Promise.withResolvers<void>();
    const stream = new Stream({ number, creditBytes, send: this.#send });
    this.#open.set(number, stream);
    const siblings = this.#streamsOf(connection).add(stream);
    const life = connection.apart((lane) =>
      withDomain(lane, uuid, async (domain) => {
        using handle = await StreamHandle.make(lane, this.#library);
        const flags = force ? consoleFlag.FORCE : consoleFlag.SAFE;
        await lane.onDomain("virDomainOpenConsole", domain, null, handle.address, flags);
        await stream.run(handle, { ready: this.#ready, opened: opened.resolve });
      }),
    );
    const over = life.finally(() => {
      this.#open.delete(number);
      siblings.delete(stream);
    });
    over.then(opened.resolve, opened.reject);
    await opened.promise;
    // From here on its end is no answer to the call any more.
    over.then(() => this.#ended(number), (error: Error) => this.#ended(number, error));
  }

  #streamsOf(connection: Connection): Set<Stream> {
    const known = this.#watched.get(connection);
    if (known) return known;
    const streams = new Set<Stream>();
    this.#watched.set(connection, streams);
    void connection.lost.then((reason) => {
      for (const stream of streams) stream.fail(new HypervisorError("connection-lost", reason));
    });
    return streams;
  }

  serve(number: number, request: StreamRequest): void {
    this.#open.get(number)?.serve(request);
  }

  #ended(stream: number, fault?: Error): void {
    if (!fault) return this.#send({ type: "stream-ended", stream });
    const { kind, code, message } = fault instanceof HypervisorError ? fault : new HypervisorError("failed", fault.message);
    this.#send({ type: "stream-ended", stream, error: { kind, code, message } });
  }
}

/** libvirt's handle, of the lane that made it. */
class StreamHandle implements Disposable {
  readonly lane: Lane;
  readonly address: Pointer;
  readonly #library: Library;

  private constructor(lane: Lane, library: Library, address: Pointer) {
    this.lane = lane;
    this.#library = library;
    this.address = address;
  }

  static async make(lane: Lane, library: Library): Promise<StreamHandle> {
    return new StreamHandle(lane, library, (await lane.onConnection("virStreamNew", streamFlag.NONBLOCK)) as Pointer);
  }

  [Symbol.dispose](): void {
    this.#library.local("virStreamFree", this.address);
  }
}

type StreamOptions = { number: number; creditBytes: number; send: Send };

class Stream {
  readonly #number: number;
  readonly #send: Send;
  readonly #unread: Buffer[] = [];
  readonly #unwritten: Uint8Array[] = [];
  #unreadBytes = 0;
  #creditBytes: number;
  #events = 0;
  #asked = 0;
  #end: { error?: Error } | undefined;
  #wake: () => void = () => undefined;
  #isAwake = false;
  #isAtEnd = false;

  constructor({ number, creditBytes, send }: StreamOptions) {
    this.#number = number;
    this.#creditBytes = creditBytes;
    this.#send = send;
  }

  ready(events: number): void {
    this.#events |= events;
    this.#rouse();
  }

  serve(request: StreamRequest): void {
    if (request.do === "write") this.#unwritten.push(request.data);
    else if (request.do === "credit") this.#creditBytes += request.bytes;
    else this.#end ??= {};
    this.#rouse();
  }

  fail(error: Error): void {
    this.#end ??= { error };
    this.#rouse();
  }

  /** From the opening to the end; throws what it ended by, if that was no orderly end. */
  async run(handle: StreamHandle, { ready, opened }: { ready: Pointer; opened: () => void }): Promise<void> {
    const { lane, address } = handle;
    this.#asked = streamEvent.READABLE | OVER;
    await lane.onStream("virStreamEventAddCallback", address, this.#asked, ready, this.#number, null);
    try {
      opened();
      while (!this.#end) {
        await this.#news();
        const events = this.#events;
        this.#events = 0;
        if (!this.#end && (events & (streamEvent.READABLE | OVER)) !== 0) await this.#receive(handle, events);
        this.#deliver();
        if (!this.#end) await this.#transmit(handle);
      }
    } catch (error) {
      this.#end = { error: error as Error };
    } finally {
      await this.#giveBack(handle);
    }
    this.#creditBytes = Infinity;
    this.#deliver(); // What the guest said before the end; the reader takes it in, or is gone.
    if (this.#end.error) throw this.#end.error;
  }

  #rouse(): void {
    this.#isAwake = true;
    this.#wake();
  }

  async #news(): Promise<void> {
    if (!this.#isAwake) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#isAwake = false;
  }

  /** All that is there. After an end or an error nothing more is, and libvirt says so again and again until it is left. */
  async #receive({ lane, address }: StreamHandle, events: number): Promise<void> {
    for (;;) {
      const buffer = Buffer.allocUnsafe(RECEIVE_BYTES);
      const length = (await lane.onStream("virStreamRecv", address, buffer, RECEIVE_BYTES)) as number;
      if (length === WOULD_BLOCK && (events & OVER) === 0) return;
      this.#isAtEnd = length === 0;
      if (length <= 0) return void (this.#end ??= {});
      this.#unread.push(buffer.subarray(0, length));
      this.#unreadBytes += length;
      this.#deliver();
      if (this.#unreadBytes > UNREAD_BYTES_MAX) throw new HypervisorError("failed", "The console's output was not read fast enough");
    }
  }

  /** To the agent, as far as its credit goes. */
  #deliver(): void {
    while (this.#creditBytes > 0 && this.#unread.length > 0) {
      const first = this.#unread.shift()!;
      const data = first.subarray(0, this.#creditBytes);
      if (data.length < first.length) this.#unread.unshift(first.subarray(data.length));
      this.#creditBytes -= data.length;
      this.#unreadBytes -= data.length;
      this.#send({ type: "stream-data", stream: this.#number, data });
    }
  }

  /** To the guest, as far as it takes it; the agent sends no more than one window ahead. */
  async #transmit({ lane, address }: StreamHandle): Promise<void> {
    let isBlocked = false;
    for (let first = this.#unwritten[0]; first && !isBlocked; first = this.#unwritten[0]) {
      const sent = (await lane.onStream("virStreamSend", address, first, first.length)) as number;
      isBlocked = sent === WOULD_BLOCK;
      if (isBlocked) break;
      if (sent < first.length) this.#unwritten[0] = first.subarray(sent);
      else this.#unwritten.shift();
      this.#send({ type: "stream-written", stream: this.#number, bytes: sent });
    }
    // Asked for always, room would be told of without end.
    const asked = streamEvent.READABLE | OVER | (isBlocked ? streamEvent.WRITABLE : 0);
    if (asked !== this.#asked) await lane.onStream("virStreamEventUpdateCallback", address, asked);
    this.#asked = asked;
  }

  /** The callback first, or it is called for ever. Nothing of this matters to a daemon that is gone. */
  async #giveBack({ lane, address }: StreamHandle): Promise<void> {
    for (const call of ["virStreamEventRemoveCallback", this.#isAtEnd ? "virStreamFinish" : "virStreamAbort"] as const) {
      await lane.onStream(call, address).catch((error: unknown) => {
        if (!(error instanceof HypervisorError)) throw error;
      });
    }
  }
}
