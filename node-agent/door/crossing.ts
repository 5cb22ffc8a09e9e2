/** One connection of the source's libvirt through the door: each message is looked at before it goes on. */
import type { Socket } from "node:net";
import type { Clock, Timer } from "../../lib/clock.ts";
import { forward } from "./forward.ts";
import type { Gatekeeper } from "./gatekeeper.ts";
import { FrameReader, messageType, REMOTE_PROGRAM } from "./rpc.ts";
import type { Frame } from "./rpc.ts";

/** A domain's XML is below 64 KiB, and the last call carries three. */
const CALL_BYTES_MAX = 1 << 20;
const REPLY_BYTES_MAX = 4 << 20;
/** libvirt waits for each answer before it asks again. */
const OUTSTANDING_MAX = 8;
/** For what the peer may still have to say when its last call has been answered. */
const IDLE_AT_END_MS = 5_000;

export type Refusal = { reason: string; procedure?: number };

export type CrossingOptions = {
  peer: Socket;
  libvirt: Socket;
  gatekeeper: Gatekeeper;
  clock: Clock;
  refused: (refusal: Refusal) => void;
  ended: () => void;
};

export class Crossing {
  readonly #options: CrossingOptions;
  readonly #calls = new FrameReader(CALL_BYTES_MAX);
  readonly #replies = new FrameReader(REPLY_BYTES_MAX);
  #outstanding = 0;
  #closing = false;
  #ended = false;
  #timer: Timer | undefined;

  constructor(options: CrossingOptions) {
    const { peer, libvirt } = options;
    this.#options = options;
    this.#join(peer, (bytes) => this.#fromPeer(bytes));
    this.#join(libvirt, (bytes) => this.#fromLibvirt(bytes));
  }

  /** Nothing new may begin. A call that is being answered is waited for: cut off there, both hosts might run the guest. */
  close(): void {
    this.#closing = true;
    this.#options.gatekeeper.close();
    this.#endWhenIdle();
  }

  cut(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#timer?.cancel();
    // What has been said already still arrives.
    this.#options.peer.destroySoon();
    this.#options.libvirt.destroy();
    this.#options.ended();
  }

  #join(socket: Socket, receive: (bytes: Buffer) => void): void {
    socket.on("data", receive);
    for (const event of ["end", "close", "error"]) socket.on(event, () => this.cut());
  }

  #fromPeer(bytes: Buffer): void {
    let current: Frame | undefined;
    try {
      for (const frame of this.#calls.push(bytes)) {
        current = frame;
        this.#pass(frame);
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.refused({ reason, ...(current && { procedure: current.procedure }) });
      this.cut();
    }
  }

  #pass(frame: Frame): void {
    const { peer, libvirt, gatekeeper } = this.#options;
    if (this.#ended) return;
    const admitted = gatekeeper.admit(frame);
    if (frame.program === REMOTE_PROGRAM) {
      this.#outstanding += 1;
      if (this.#outstanding > OUTSTANDING_MAX) throw new Error("Too many calls wait for their answer");
    }
    forward(admitted, { from: peer, to: libvirt });
  }

  #fromLibvirt(bytes: Buffer): void {
    try {
      for (const { program, type } of this.#replies.push(bytes)) {
        if (program === REMOTE_PROGRAM && type === messageType.REPLY) this.#outstanding = Math.max(0, this.#outstanding - 1);
      }
    } catch {
      // Whatever this is, it is not libvirt's protocol.
      return this.cut();
    }
    forward(bytes, { from: this.#options.libvirt, to: this.#options.peer });
    if (this.#outstanding === 0) this.#options.gatekeeper.rehearse();
    this.#endWhenIdle();
  }

  #endWhenIdle(): void {
    this.#timer?.cancel();
    if (!this.#closing || this.#outstanding > 0) return;
    this.#timer = this.#options.clock.after(IDLE_AT_END_MS, () => (this.#outstanding === 0 ? this.cut() : undefined));
  }
}
