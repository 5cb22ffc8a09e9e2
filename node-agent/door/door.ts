/**
 * The door: lets the granted source's certificate through to this host's libvirt, for the calls of one migration. It is a
 * process of its own, since a migration goes on while the agent is dead.
 */
import { constants } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { createServer } from "node:tls";
import type { Server, TLSSocket } from "node:tls";
import type { Clock, Timer } from "../../lib/clock.ts";
import { Crossing } from "./crossing.ts";
import type { Refusal } from "./crossing.ts";
import { gateFor, Gatekeeper } from "./gatekeeper.ts";
import type { Gate } from "./gatekeeper.ts";
import { WELCOME } from "./grant.ts";
import type { DoorGrant } from "./grant.ts";
import { uriOf } from "./peer.ts";

const HANDSHAKE_MS = 5_000;
const HANDSHAKES_MAX = 16;
const TCP_KEEPALIVE_MS = 10_000;
/** A source that has not come by then does not come any more; its call fails, and the guest stays where it is. */
const UNUSED_MS = 600_000;

export type DoorListener = {
  refused: (refusal: Refusal & { peer: string }) => void;
  ended: () => void;
};

export class Door {
  readonly #grant: DoorGrant;
  readonly #gate: Gate;
  readonly #clock: Clock;
  readonly #listener: DoorListener;
  readonly #server: Server;
  #crossing: Crossing | undefined;
  #closing = false;
  #unused: Timer | undefined;

  private constructor(grant: DoorGrant, clock: Clock, listener: DoorListener) {
    this.#grant = grant;
    this.#gate = gateFor(grant);
    this.#clock = clock;
    this.#listener = listener;
    this.#server = createServer({
      ca: readFileSync(grant.tls.ca),
      cert: readFileSync(grant.tls.cert),
      key: readFileSync(grant.tls.key),
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: "TLSv1.3",
      handshakeTimeout: HANDSHAKE_MS,
      // Each connection shows its certificate anew.
      secureOptions: constants.SSL_OP_NO_TICKET,
    });
    this.#server.maxConnections = HANDSHAKES_MAX;
    this.#server.on("secureConnection", (socket) => this.#receive(socket));
    this.#server.on("tlsClientError", ({ message }, socket) => this.#refuse(socket, { reason: `No handshake: ${message}` }));
  }

  static async open(grant: DoorGrant, clock: Clock, listener: DoorListener): Promise<Door> {
    const door = new Door(grant, clock, listener);
    await door.#listen();
    door.#waitForUse();
    return door;
  }

  get address(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return `${family === "IPv6" ? `[${address}]` : address}:${port}`;
  }

  /** Lets nobody in any more, and ends when what goes on is over. */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#server.close();
    this.#unused?.cancel();
    if (this.#crossing) this.#crossing.close();
    else this.#listener.ended();
  }

  async #listen(): Promise<void> {
    const { host, ports = { first: 0, last: 0 } } = this.#grant;
    for (let port = ports.first; ; port += 1) {
      try {
        return await listening(this.#server, { host, port });
      } catch (error) {
        const taken = error instanceof Error && "code" in error && error.code === "EADDRINUSE";
        if (!taken || port >= ports.last) throw error;
      }
    }
  }

  #receive(socket: TLSSocket): void {
    socket.on("error", () => socket.destroy());
    const certificate = socket.getPeerX509Certificate();
    const uri = uriOf(certificate?.subjectAltName);
    if (!socket.authorized || uri !== this.#grant.peer) {
      return this.#refuse(socket, { reason: `The certificate is for "${uri ?? "nobody"}"` });
    }
    if (this.#crossing) return this.#refuse(socket, { reason: "Another connection is open" });
    socket.setNoDelay(true).setKeepAlive(true, TCP_KEEPALIVE_MS);
    this.#unused?.cancel();
    const peer = addressOf(socket);
    socket.write(WELCOME);
    this.#crossing = new Crossing({
      peer: socket,
      libvirt: connect(this.#grant.libvirtSocket),
      gatekeeper: new Gatekeeper(this.#gate),
      clock: this.#clock,
      refused: (refusal) => this.#listener.refused({ peer, ...refusal }),
      ended: () => this.#crossed(),
    });
  }

  #crossed(): void {
    this.#crossing = undefined;
    if (this.#closing) this.#listener.ended();
    else this.#waitForUse();
  }

  #waitForUse(): void {
    this.#unused = this.#clock.after(UNUSED_MS, () => this.close());
  }

  #refuse(socket: Socket, refusal: Refusal): void {
    this.#listener.refused({ peer: addressOf(socket), ...refusal });
    socket.destroy();
  }
}

const addressOf = ({ remoteAddress }: Socket): string => remoteAddress ?? "unknown";

function listening(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}
