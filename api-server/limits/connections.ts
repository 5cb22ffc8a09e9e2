/** All connections of one listener: how many there may be, from where, and which of them cost too much. */
import type { Http2Session } from "node:http2";
import type { Socket } from "node:net";
import type { CallContext } from "nice-grpc-common";
import { type Clock, every } from "../../lib/clock.ts";
import { ResourceExhausted, Unauthenticated } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import type { Caller } from "../objects.ts";
import { type AddressLimits, Addresses } from "./addresses.ts";
import { Connection, type ConnectionParts } from "./connection.ts";
import type { AnyHttp2Server } from "./http2-servers.ts";

const LOOK_EVERY_MS = 250;
const UNREAD_BYTES_IN_ALL_MAX = 128 * 1024 * 1024;
/** In connections of the same address. */
const COST_OF_FAILED_HANDSHAKE = 5;
/** In nuisances. */
const COST_OF_STRANGER = 2;
/** All at once they hold up everybody else for as long as they take together; the client lets the others wait. */
const STREAMS_MAX = { remote: 100, local: 1_000 };
/** Connections on which nobody has been identified, and calls on them. Beyond, the oldest makes room, which has had its time. */
const STRANGERS_MAX = 512;
const CALLS_OF_STRANGERS_MAX = 1_024;
/** Above what a call may carry, so that most of what is too large is told why. */
const HEADER_LIST_BYTES_MAX = 16 * 1024;
const RETRY_MS = 1_000;

export type ConnectionLimits = { connectionsMax: number; address: AddressLimits };
export type ConnectionsParts = {
  listener: string;
  /** On this machine alone. */
  isLocal: boolean;
  clock: Clock;
  log: Logger;
  limits: ConnectionLimits;
  streaming: ConnectionParts["streaming"];
};

export class Connections implements Disposable {
  readonly #parts: ConnectionsParts;
  readonly #addresses: Addresses;
  readonly #sockets = new Set<Socket>();
  readonly #strangers = new Map<string, Socket>();
  readonly #open = new Map<string, Connection>();
  readonly #ended = new AbortController();

  constructor(parts: ConnectionsParts) {
    this.#parts = parts;
    this.#addresses = new Addresses(parts.clock, parts.limits.address);
    const { clock, log, listener } = parts;
    const onError = (error: unknown) => log.error({ listener, error }, "connections could not be looked at");
    void every(clock, LOOK_EVERY_MS, { run: () => this.#look(), signal: this.#ended.signal, onError });
  }

  attach(server: AnyHttp2Server): void {
    server.updateSettings({ maxConcurrentStreams: STREAMS_MAX[this.#parts.isLocal ? "local" : "remote"], maxHeaderListSize: HEADER_LIST_BYTES_MAX });
    // Before TLS has begun, which costs more than all else of a connection.
    const begin = server.listeners("connection");
    server.removeAllListeners("connection").on("connection", (socket: Socket) => {
      if (this.#admits(socket)) for (const listener of begin) listener.call(server, socket);
    });
    server.on("session", (session: Http2Session) => this.#opened(session));
    server.on("tlsClientError", (_error: Error, { remoteAddress = "" }: Socket) => this.#addresses.charge(remoteAddress, COST_OF_FAILED_HANDSHAKE));
  }

  /** Notes how the identification ended on the connection that the call came by. */
  identifying(callerOf: (context: CallContext) => Caller | Promise<Caller>): (context: CallContext) => Promise<Caller> {
    return async (context) => {
      const connection = this.#open.get(context.peer);
      try {
        const caller = await callerOf(context);
        if (caller.subject !== "anonymous") connection?.prove();
        return caller;
      } catch (error) {
        if (error instanceof Unauthenticated) connection?.nuisance("calls without an identity", COST_OF_STRANGER);
        throw error;
      }
    };
  }

  /** Refuses a call on a connection whose answers nobody reads. */
  requireRoom(peer: string): void {
    if (this.#open.get(peer)?.hasRoom ?? true) return;
    throw new ResourceExhausted("Too many answers on this connection have not been read", { reason: "UNREAD_ANSWERS" }, RETRY_MS);
  }

  cut(peer: string, reason: string): void {
    this.#open.get(peer)?.cut(reason);
  }

  [Symbol.dispose](): void {
    this.#ended.abort();
  }

  /** Sockets of the file system have no address, and only the administrator gets at them. */
  #admits(socket: Socket): boolean {
    const { remoteAddress, remotePort } = socket;
    if (remoteAddress === undefined) return true;
    if (this.#sockets.size >= this.#parts.limits.connectionsMax || !this.#addresses.enter(remoteAddress)) {
      socket.destroy();
      return false;
    }
    const peer = `${remoteAddress}:${remotePort}`;
    this.#sockets.add(socket);
    this.#strangers.set(peer, socket);
    if (this.#strangers.size > STRANGERS_MAX) this.#dropOldestStranger();
    socket.once("close", () => {
      this.#sockets.delete(socket);
      this.#strangers.delete(peer);
      this.#addresses.leave(remoteAddress);
    });
    return true;
  }

  #opened(session: Http2Session): void {
    const { remoteAddress, remotePort } = session.socket;
    if (remoteAddress === undefined) return;
    const { clock, streaming, log, listener } = this.#parts;
    const onCut = (reason: string) => {
      log.warn({ listener, peer: remoteAddress, reason }, "a connection was cut");
      this.#addresses.offended(remoteAddress);
    };
    const peer = `${remoteAddress}:${remotePort}`;
    this.#open.set(peer, new Connection(session, {
      clock, streaming, onCut,
      onProven: () => this.#strangers.delete(peer),
      admitsStranger: () => this.#callsOfStrangers() <= CALLS_OF_STRANGERS_MAX,
    }));
    session.once("close", () => this.#open.delete(peer));
  }

  #dropOldestStranger(): void {
    const [oldest] = this.#strangers;
    if (!oldest) return;
    this.#strangers.delete(oldest[0]);
    oldest[1].destroy();
  }

  #callsOfStrangers(): number {
    let calls = 0;
    for (const peer of this.#strangers.keys()) calls += this.#open.get(peer)?.strangeCalls ?? 0;
    return calls;
  }

  #look(): void {
    const unread = [...this.#open.values()].map((connection) => ({ connection, bytes: connection.look() })).filter(({ bytes }) => bytes > 0);
    let inAll = unread.reduce((sum, { bytes }) => sum + bytes, 0);
    if (inAll <= UNREAD_BYTES_IN_ALL_MAX) return;
    for (const { connection, bytes } of unread.sort((a, b) => b.bytes - a.bytes)) {
      if (inAll <= UNREAD_BYTES_IN_ALL_MAX) return;
      connection.cut("unread answers in all");
      inAll -= bytes;
    }
  }
}
