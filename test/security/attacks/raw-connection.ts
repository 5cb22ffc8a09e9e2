/** An attacker's connection: TLS, the preface, and then whatever it likes. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Socket } from "node:net";
import { PREFACE, settings, settingsAcknowledged } from "./frames.ts";

/** `cert` and `key` are paths; without them it shows no certificate. */
export type Target = { host: string; port: number; from: string; cert?: string; key?: string };

/** Attackers come from an address of their own, as they would. */
const place = ({ host, port, from }: Target) => ({ host, port, localAddress: from });

/** TCP alone. Undefined when it is not let in. */
export async function openTcp(target: Target): Promise<RawConnection | undefined> {
  const socket = connectTcp(place(target));
  return (await settles(socket, "connect")) ? new RawConnection(socket) : undefined;
}

/** Undefined when it is not let in. */
export async function openHttp2(target: Target, { initialWindow }: { initialWindow?: number } = {}): Promise<RawConnection | undefined> {
  const { cert, key } = target;
  const own = cert !== undefined && key !== undefined ? { cert: readFileSync(cert), key: readFileSync(key) } : {};
  const socket = connectTls({ ...place(target), ...own, rejectUnauthorized: false, ALPNProtocols: ["h2"] });
  if (!(await settles(socket, "secureConnect"))) return undefined;
  const connection = new RawConnection(socket);
  await connection.send(Buffer.concat([PREFACE, settings(initialWindow === undefined ? {} : { initialWindow }), settingsAcknowledged()]));
  return connection;
}

function settles(socket: Socket, event: string): Promise<boolean> {
  return new Promise((resolve) => socket.once(event, () => resolve(true)).once("error", () => resolve(false)).once("close", () => resolve(false)));
}

export class RawConnection {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("error", () => undefined);
    socket.resume();
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed && this.#socket.writable;
  }

  /** As fast as the peer takes it. */
  async send(bytes: Buffer): Promise<void> {
    if (!this.isOpen || this.#socket.write(bytes)) return;
    const given = new AbortController();
    const { signal } = given;
    await Promise.race([once(this.#socket, "drain", { signal }), once(this.#socket, "close", { signal })]).catch(() => undefined);
    given.abort();
  }

  /** Takes nothing any more, not even from the network. */
  stall(): void {
    this.#socket.pause();
  }

  close(): void {
    this.#socket.destroy();
  }
}
