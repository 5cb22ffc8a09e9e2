/**
 * Byte streams through a node: the server offers a tunnel on the node's session, the agent attaches to it by a call of
 * its own, and what it sends goes to whoever asked. The queue between is short, so a slow reader slows the agent.
 */
import { AttachResponse } from "../../gen/drover/agent/v1/agent.ts";
import type { AttachClose, AttachRequest, TunnelOffer } from "../../gen/drover/agent/v1/agent.ts";
import { Channel } from "../../lib/channel.ts";
import type { Clock } from "../../lib/clock.ts";
import { Aborted, InvalidArgument, NotFound, ResourceExhausted, Unavailable } from "../../lib/errors.ts";
import type { Random } from "../../lib/random.ts";
import { notYours } from "./roles.ts";
import type { NodeSession } from "./session.ts";

const ATTACH_TIMEOUT_MS = 5_000;
const QUEUE_MESSAGES_MAX = 8;
const MESSAGE_BYTES_MAX = 32 * 1024;
const TUNNELS_PER_NODE_MAX = 64;
const ID_LENGTH = 32;

export type Offer = Omit<TunnelOffer, "tunnelId" | "_unknownFields">;

/** What the agent sends. Ends normally at the end of the output, else throws what the caller is to be told. */
export class Tunnel implements Disposable {
  readonly data = new Channel<Buffer>(QUEUE_MESSAGES_MAX);
  readonly left: Promise<void>;
  readonly #leave: () => void;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.left = promise;
    this.#leave = resolve;
  }

  /** Ends it from the reader's side, or because of something that neither side can know. */
  end(error?: Error): void {
    this.data.close(error);
    this.#leave();
  }

  [Symbol.dispose](): void {
    this.end();
  }
}

type Waiting = { node: string; tunnel: Tunnel; attached: () => void };

export class Tunnels {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #offers = new Map<string, Waiting>();
  readonly #open = new Map<string, Set<Tunnel>>();

  constructor({ clock, random }: { clock: Clock; random: Random }) {
    this.#clock = clock;
    this.#random = random;
  }

  /** Resolves when the agent has attached; Unavailable when it does not within 5 seconds. */
  async offer(session: NodeSession, offer: Offer): Promise<Tunnel> {
    const { node } = session;
    if ((this.#open.get(node)?.size ?? 0) >= TUNNELS_PER_NODE_MAX) {
      throw new ResourceExhausted(`The node "${node}" has ${TUNNELS_PER_NODE_MAX} streams open`, { reason: "TOO_MANY_STREAMS" }, 1_000);
    }
    const tunnelId = this.#random.token(ID_LENGTH);
    const tunnel = new Tunnel();
    this.#count(node, tunnel);
    try {
      await this.#attached(session, { tunnelId, ...offer }, tunnel);
      return tunnel;
    } catch (error) {
      tunnel.end();
      throw error;
    } finally {
      this.#offers.delete(tunnelId);
    }
  }

  /** The agent's call: it lives as long as the tunnel. */
  async *attach(node: string, requests: AsyncIterable<AttachRequest>): AsyncGenerator<AttachResponse, void, undefined> {
    const incoming = requests[Symbol.asyncIterator]();
    const tunnel = await this.#take(node, incoming);
    yield AttachResponse.create();
    await Promise.race([pump(incoming, tunnel), tunnel.left]);
  }

  #attached(session: NodeSession, offer: TunnelOffer, tunnel: Tunnel): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(ATTACH_TIMEOUT_MS, () =>
        reject(new Unavailable(`The agent of "${session.node}" did not open the stream`, { reason: "NODE_DID_NOT_ANSWER" })));
      const attached = () => {
        timer.cancel();
        resolve();
      };
      this.#offers.set(offer.tunnelId, { node: session.node, tunnel, attached });
      session.outbox.put(`tunnel/${offer.tunnelId}`, { $case: "tunnelOffer", value: offer });
    });
  }

  async #take(node: string, incoming: AsyncIterator<AttachRequest>): Promise<Tunnel> {
    const first = await incoming.next();
    const message = first.done ? undefined : first.value.message;
    if (message?.$case !== "open") throw new InvalidArgument([{ path: "open", message: "must be the first message" }]);
    const waiting = this.#offers.get(message.value.tunnelId);
    if (waiting?.node !== node) throw notYours();
    this.#offers.delete(message.value.tunnelId);
    waiting.attached();
    return waiting.tunnel;
  }

  /** Ends all that goes through the node. */
  cut(node: string, error: Error): void {
    for (const tunnel of this.#open.get(node) ?? []) tunnel.end(error);
  }

  #count(node: string, tunnel: Tunnel): void {
    const open = this.#open.get(node) ?? new Set();
    this.#open.set(node, open.add(tunnel));
    void tunnel.left.then(() => {
      open.delete(tunnel);
      if (open.size === 0 && this.#open.get(node) === open) this.#open.delete(node);
    });
  }
}

/** Never throws: how the stream ended goes to the reader. */
async function pump(incoming: AsyncIterator<AttachRequest>, tunnel: Tunnel): Promise<void> {
  try {
    for (;;) {
      const next = await incoming.next();
      if (next.done) return tunnel.end(broken());
      const { message } = next.value;
      if (message?.$case === "close") return tunnel.end(ending(message.value));
      if (message?.$case !== "data") continue;
      if (message.value.length > MESSAGE_BYTES_MAX) return tunnel.end(broken());
      await tunnel.data.push(message.value);
    }
  } catch {
    tunnel.end(broken());
  }
}

const broken = () => new Unavailable("The stream from the node broke", { reason: "STREAM_BROKEN" });

function ending({ reason, message }: AttachClose): Error | undefined {
  if (reason === "END_OF_OUTPUT") return undefined;
  if (reason === "INSTANCE_MOVED") return moved();
  if (reason === "NOT_FOUND") return new NotFound("console");
  return new Unavailable(`The node ended the stream: ${message.slice(0, 1024)}`, { reason: "STREAM_FAILED" });
}

export const moved = () => new Aborted("The machine moved to another node", { reason: "INSTANCE_MOVED" });
