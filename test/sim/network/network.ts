/**
 * The network between the programs: connections that carry streams of frames, each with its own delay, so that streams
 * overtake one another and the frames of one do not. A cut holds frames back; whoever sends keepalives gives a silent
 * connection up.
 */
import { Metadata, Status } from "nice-grpc-common";
import type { Peer } from "../../../api-server/interceptors/peer.ts";
import type { Chance } from "../world/chance.ts";
import type { Life } from "../world/life.ts";
import type { World } from "../world/world.ts";
import type { ClientFrame, Ear, ServerFrame } from "./frames.ts";
import type { ListenerName, SimServer } from "./server.ts";

/** How a server hears of a dead client, which sends no keepalives itself. */
const SERVER_KEEPALIVE_MS = 40_000;
const CONNECT_TIMEOUT_MS = 5_000;

export type Weather = {
  delayMs: [number, number];
  /** Chance that a frame takes up to `spikeMs` longer. */
  spike: number;
  spikeMs: number;
  /** Chance that a frame, request or answer, is lost with its connection. */
  loss: number;
  /** Chance that a call is heard twice, the second time up to `lateMs` later. */
  duplicate: number;
  lateMs: number;
};

export const FAIR: Weather = { delayMs: [0.2, 2], spike: 0.01, spikeMs: 60, loss: 0, duplicate: 0, lateMs: 0 };
export const FOUL: Weather = { delayMs: [0.5, 20], spike: 0.15, spikeMs: 1_500, loss: 0.01, duplicate: 0.1, lateMs: 4_000 };

type Serving = { life: Life; servers: ReadonlyMap<ListenerName, SimServer> };

export class Network {
  readonly world: World;
  weather: Weather = FAIR;
  readonly chance: Chance;
  #serving: Serving | undefined;
  readonly #cuts = new Set<string>();
  readonly #slow = new Map<string, number>();
  readonly #heardMs = new Map<string, number>();
  readonly #transports = new Set<Transport>();
  readonly #onHeal: (() => void)[] = [];

  constructor(world: World) {
    this.world = world;
    this.chance = world.chance("network");
  }

  serve(serving: Serving): void {
    this.#serving = serving;
  }

  get serving(): Serving | undefined {
    return this.#serving?.life.dead ? undefined : this.#serving;
  }

  /** By the names of programs; a name may stand for a host's agent as "agent/a". */
  isCut(from: string, to: string): boolean {
    return this.#cuts.has(`${from}>${to}`);
  }

  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`);
    for (const transport of this.#transports) transport.watch();
  }

  heal(from: string, to: string): void {
    this.#cuts.delete(`${from}>${to}`);
    for (const run of this.#onHeal.splice(0)) run();
    for (const transport of this.#transports) transport.healed();
  }

  /** What goes that way takes longer. */
  slow(from: string, to: string, byMs: number): void {
    this.#slow.set(`${from}>${to}`, byMs);
  }

  slowness(from: string, to: string): number {
    return this.#slow.get(`${from}>${to}`) ?? 0;
  }

  /** When the server last heard something of a program. */
  heardMs(name: string): number {
    return this.#heardMs.get(name) ?? 0;
  }

  hears(name: string): void {
    this.#heardMs.set(name, this.world.nowMs);
  }

  whenHealed(run: () => void): void {
    this.#onHeal.push(run);
  }

  /** Everything that a program has open breaks: it died, or its connections were reset. */
  reset(name: string): void {
    for (const transport of this.#transports) if (transport.client.name === name || transport.server.life.name === name) transport.reset();
  }

  /** A process that lies still answers no keepalives. */
  stilled(name: string): void {
    for (const transport of this.#transports) if (transport.client.name === name || transport.server.life.name === name) transport.watch();
  }

  /** Undefined when nobody can be reached. */
  connect(client: Life, keepaliveMs: number): Transport | undefined {
    const serving = this.serving;
    if (!serving || this.isCut(client.name, serving.life.name) || this.isCut(serving.life.name, client.name)) return undefined;
    const transport = new Transport(this, { client, server: serving, keepaliveMs });
    this.#transports.add(transport);
    return transport;
  }

  /** How long a failed attempt to connect takes. */
  failsAfterMs(client: Life): number {
    const refused = this.#serving === undefined || this.#serving.life.dead;
    return refused && !this.isCut(client.name, "api-server") ? this.chance.between(0.2, 5) : this.chance.between(100, CONNECT_TIMEOUT_MS);
  }

  forget(transport: Transport): void {
    this.#transports.delete(transport);
  }
}

/** One connection that stands. */
export class Transport {
  readonly network: Network;
  readonly client: Life;
  readonly server: Serving;
  readonly #keepaliveMs: number;
  readonly #streams = new Set<Stream>();
  #clientUp = true;
  #serverUp = true;
  #watched = false;

  constructor(network: Network, { client, server, keepaliveMs }: { client: Life; server: Serving; keepaliveMs: number }) {
    this.network = network;
    this.client = client;
    this.server = server;
    this.#keepaliveMs = keepaliveMs;
  }

  get usable(): boolean {
    return this.#clientUp && !this.client.dead;
  }

  get serverUp(): boolean {
    return this.#serverUp && !this.server.life.dead;
  }

  open(listener: ListenerName, opening: Opening): Stream {
    const stream = new Stream(this, listener, opening);
    this.#streams.add(stream);
    return stream;
  }

  closed(stream: Stream): void {
    this.#streams.delete(stream);
  }

  isHeld(towards: Direction): boolean {
    return this.network.isCut(...this.#way(towards));
  }

  slowness(towards: Direction): number {
    return this.network.slowness(...this.#way(towards));
  }

  #way(towards: Direction): [from: string, to: string] {
    const [client, server] = [this.client.name, this.server.life.name];
    return towards === "server" ? [client, server] : [server, client];
  }

  get #silent(): boolean {
    return this.isHeld("server") || this.isHeld("client") || this.client.frozen || this.server.life.frozen;
  }

  /** Nothing comes through any more: each side finds out by its own keepalives. */
  watch(): void {
    if (this.#watched || !this.#silent) return;
    this.#watched = true;
    const { world } = this.network;
    world.after(this.#keepaliveMs, () => {
      this.#watched = false;
      if (!this.#silent || !this.#clientUp) return;
      this.breakClient("keepalive: no answer");
      world.after(SERVER_KEEPALIVE_MS - this.#keepaliveMs, () => {
        if (!this.#clientUp) this.breakServer();
      });
    });
  }

  /** What one side has given up, the other hears of when the path is there again. */
  healed(): void {
    if (!this.#clientUp && !this.isHeld("server")) this.breakServer();
  }

  /** Both sides learn of it, as far as they can be reached. */
  reset(): void {
    const { world, chance } = this.network;
    const soon = () => chance.between(0.1, 3);
    if (this.isHeld("client")) world.after(this.#keepaliveMs, () => this.breakClient("keepalive: no answer"));
    else world.after(soon(), () => this.breakClient("connection reset"));
    if (this.isHeld("server")) world.after(SERVER_KEEPALIVE_MS, () => this.breakServer());
    else world.after(soon(), () => this.breakServer());
  }

  breakClient(details: string): void {
    if (!this.#clientUp) return;
    this.#clientUp = false;
    for (const stream of Array.from(this.#streams)) stream.lostByClient(details);
    this.#maybeForget();
  }

  breakServer(): void {
    if (!this.#serverUp) return;
    this.#serverUp = false;
    for (const stream of Array.from(this.#streams)) stream.lostByServer();
    this.#maybeForget();
  }

  #maybeForget(): void {
    if (!this.#clientUp && !this.#serverUp) this.network.forget(this);
  }
}

type Direction = "server" | "client";
type Opening = { path: string; metadata: Metadata; peer: Peer; hear: Ear<ServerFrame> };

/** One call, from its first frame to its status. */
export class Stream {
  readonly #transport: Transport;
  readonly #listener: ListenerName;
  readonly #opening: Opening;
  readonly #due: Record<Direction, number> = { server: 0, client: 0 };
  readonly #held: Record<Direction, (() => void)[]> = { server: [], client: [] };
  #server: Ear<ClientFrame> | undefined;
  #clientDone = false;
  #serverDone = false;

  constructor(transport: Transport, listener: ListenerName, opening: Opening) {
    this.#transport = transport;
    this.#listener = listener;
    this.#opening = opening;
  }

  /** From the client. `twice`: a call that the server may also hear a second time, as one whose answer was lost. */
  send(frame: ClientFrame, { twice = false } = {}): void {
    this.#travel("server", frame.kind, "bytes" in frame ? frame.bytes : undefined, () => this.#arriveAtServer(frame, twice));
  }

  lostByClient(details: string): void {
    if (this.#clientDone) return;
    this.#clientDone = true;
    this.#transport.client.enter(() => this.#opening.hear({ kind: "end", code: Status.UNAVAILABLE, details, trailer: Metadata() }));
    this.#finish();
  }

  lostByServer(): void {
    if (this.#serverDone) return;
    this.#serverDone = true;
    const server = this.#server;
    if (server) this.#transport.server.life.enter(() => server({ kind: "cancel" }));
    this.#finish();
  }

  #arriveAtServer(frame: ClientFrame, twice: boolean): void {
    const { server, serverUp } = this.#transport;
    if (!serverUp || this.#serverDone) return;
    server.life.enter(() => {
      this.#transport.network.hears(this.#transport.client.name);
      if (frame.kind === "open" || frame.kind === "call") this.#server = this.#begin((answer) => this.#answer(answer));
      if (frame.kind !== "open") this.#server?.(frame);
      if (frame.kind === "call" && twice) this.#maybeAgain(frame.bytes);
    });
  }

  #begin(answer: Ear<ServerFrame>): Ear<ClientFrame> {
    const { path, metadata, peer } = this.#opening;
    const server = this.#transport.server.servers.get(this.#listener);
    if (!server) throw new Error(`Nobody listens on ${this.#listener}`);
    return server.begin({ path, metadata: Metadata(metadata), peer, from: this.#transport.client.name }, answer);
  }

  /** The same bytes once more, as from a client that did not hear the answer. */
  #maybeAgain(bytes: Uint8Array): void {
    const { network, server } = this.#transport;
    if (!network.chance.happens(network.weather.duplicate)) return;
    network.world.after(network.chance.between(0, network.weather.lateMs), () => {
      if (!this.#transport.serverUp) return;
      network.world.note(`again ${this.#transport.client.name} ${this.#opening.path}`);
      server.life.enter(() => {
        const repeat = this.#begin(() => undefined);
        repeat({ kind: "call", bytes });
      });
    });
  }

  #answer(frame: ServerFrame): void {
    if (this.#serverDone) return;
    if (frame.kind === "end") this.#serverDone = true;
    this.#travel("client", frame.kind === "end" ? `end ${Status[frame.code]}` : frame.kind, frame.bytes, () => {
      if (this.#clientDone || !this.#transport.usable) return;
      if (frame.kind === "end") this.#clientDone = true;
      this.#transport.client.enter(() => this.#opening.hear(frame));
      this.#finish();
    });
  }

  #travel(towards: Direction, what: string, bytes: Uint8Array | undefined, arrive: () => void): void {
    const { network, client } = this.#transport;
    const { world, chance, weather } = network;
    const [fromMs, toMs] = weather.delayMs;
    const delayMs = chance.between(fromMs, toMs) + (chance.happens(weather.spike) ? chance.between(0, weather.spikeMs) : 0) + this.#transport.slowness(towards);
    if (chance.happens(weather.loss)) {
      world.note(`lost ${client.name} ${this.#opening.path} ${what}`);
      return this.#transport.reset();
    }
    const dueMs = Math.max(this.#due[towards], world.nowMs + delayMs);
    this.#due[towards] = dueMs;
    world.after(dueMs - world.nowMs, () => this.#land(towards, { what, bytes, arrive }));
  }

  #land(towards: Direction, frame: { what: string; bytes: Uint8Array | undefined; arrive: () => void }): void {
    const { network } = this.#transport;
    const held = this.#held[towards];
    if (this.#transport.isHeld(towards)) {
      if (held.length === 0) network.whenHealed(() => this.#release(towards));
      held.push(() => this.#land(towards, frame));
      return;
    }
    if (held.length > 0) {
      held.push(() => this.#land(towards, frame));
      return;
    }
    network.world.digest(`${network.world.nowMs}${towards}${this.#transport.client.name}${this.#opening.path}${frame.what}`, frame.bytes);
    frame.arrive();
  }

  #release(towards: Direction): void {
    const { network } = this.#transport;
    const held = this.#held[towards].splice(0);
    held.forEach((run, index) => network.world.after(1 + index * 0.01, run));
  }

  #finish(): void {
    if (this.#clientDone && this.#serverDone) this.#transport.closed(this);
  }
}
