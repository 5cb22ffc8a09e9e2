/**
 * All lanes to one daemon, from one successful open to the loss of any of them: one lane for queries and events, some
 * for changes, one more pair for each running migration. A loss is final; the host then makes a new connection.
 */
import type { Clock } from "../../../lib/clock.ts";
import { HypervisorError } from "../hypervisor.ts";
import type { HostEvent, Operations } from "../protocol.ts";
import { isTestDriver, localSockets } from "../uri.ts";
import type { EventRelay } from "./events.ts";
import type { Lane } from "./lane.ts";
import type { Opener } from "./opener.ts";
import { probe } from "./probe.ts";
import type { Streams } from "./stream.ts";

export const CHANGE_LANES = 4;

export type Surroundings = { opener: Opener; relay: EventRelay; streams: Streams; clock: Clock; fault: (message: string) => void };

export class Connection {
  /** Resolves with the reason when the daemon is lost. */
  readonly lost: Promise<string>;
  readonly query: Lane;
  readonly #uri: string;
  readonly #surroundings: Surroundings;
  readonly #changes: Lane[];
  readonly #polls = new Map<string, Lane>();
  readonly #lanes: Set<Lane>;
  /** What works apart, until it has given its lane back. */
  readonly #apart = new Set<Promise<void>>();
  readonly #lose: (reason: string) => void;
  #unsubscribe: () => Promise<void> = () => Promise.resolve();

  private constructor(uri: string, surroundings: Surroundings, lanes: readonly [Lane, ...Lane[]]) {
    this.#uri = uri;
    this.#surroundings = surroundings;
    this.#lanes = new Set(lanes);
    const [query, ...changes] = lanes;
    this.query = query;
    this.#changes = changes.length > 0 ? changes : [query];
    const { promise, resolve } = Promise.withResolvers<string>();
    this.lost = promise;
    this.#lose = resolve;
  }

  /** Events start to flow before this returns, so a list made afterwards misses nothing. */
  static async open(uri: string, surroundings: Surroundings, emit: (event: HostEvent) => void): Promise<Connection> {
    const { opener, relay, clock } = surroundings;
    await probe(clock, localSockets(uri));
    const lanes: [Lane, ...Lane[]] = [await opener.open(uri)];
    try {
      const more = isTestDriver(uri) ? 0 : CHANGE_LANES;
      while (lanes.length <= more) lanes.push(await opener.open(uri));
      const connection = new Connection(uri, surroundings, lanes);
      connection.#unsubscribe = await relay.subscribe(connection.query, (event) => {
        if (event.type === "disconnected") connection.#lose(event.reason);
        else emit(event);
      });
      return connection;
    } catch (error) {
      for (const lane of lanes) await lane.close();
      throw error;
    }
  }

  /** Work on the least busy lane for changes. */
  change<T>(work: (lane: Lane) => Promise<T>): Promise<T> {
    const lane = this.#changes.reduce((best, next) => (next.load < best.load ? next : best));
    return this.on(lane, work);
  }

  /** Polling has a lane for each migration, for a poll can wait long for the migration's own lock. */
  poll<T>(uuid: string, work: (lane: Lane) => Promise<T>): Promise<T> {
    const lane = this.#polls.get(uuid);
    return lane === undefined ? this.change(work) : this.on(lane, work);
  }

  /** Work on a lane of its own that blocks as long as it likes, with a second one for polling meanwhile. */
  async alone<T>(uuid: string, work: (lane: Lane) => Promise<T>): Promise<T> {
    if (isTestDriver(this.#uri)) return this.change(work);
    const { opener } = this.#surroundings;
    const lanes = [await opener.open(this.#uri)];
    try {
      lanes.push(await opener.open(this.#uri));
      const [own, poll] = lanes as [Lane, Lane];
      this.#polls.set(uuid, poll);
      return await this.on(own, work);
    } finally {
      this.#polls.delete(uuid);
      for (const lane of lanes) await this.#closeLane(lane);
    }
  }

  /** Work on a lane of its own, which makes no more than one call at a time. It ends when the connection is lost. */
  async apart<T>(work: (lane: Lane) => Promise<T>): Promise<T> {
    const lane = await this.#surroundings.opener.open(this.#uri);
    const working = this.#thenClose(lane, this.#lostWithDaemon(work(lane)));
    const settled = working.then(() => undefined, () => undefined);
    this.#apart.add(settled);
    void settled.then(() => this.#apart.delete(settled));
    return working;
  }

  openConsole(opening: Operations["openConsole"]["arguments"]): Promise<void> {
    return this.#surroundings.streams.open(this, opening);
  }

  /** A daemon lost under a call ends the whole connection: its other lanes are as dead. */
  on<T>(lane: Lane, work: (lane: Lane) => Promise<T>): Promise<T> {
    return this.#lostWithDaemon(lane.exclusive(work));
  }

  async #lostWithDaemon<T>(working: Promise<T>): Promise<T> {
    try {
      return await working;
    } catch (error) {
      if (error instanceof HypervisorError && error.kind === "connection-lost") this.#lose(error.message);
      throw error;
    }
  }

  /** Waits for what is in flight and gives everything back. */
  async close(): Promise<void> {
    this.#lose("The connection was closed");
    await Promise.all(this.#apart);
    await this.query.exclusive(this.#unsubscribe);
    for (const lane of this.#lanes) await this.#closeLane(lane);
  }

  async #thenClose<T>(lane: Lane, working: Promise<T>): Promise<T> {
    try {
      return await working;
    } finally {
      await this.#closeLane(lane);
    }
  }

  async #closeLane(lane: Lane): Promise<void> {
    const references = await lane.close();
    if (references !== 0) this.#surroundings.fault(`${references} references to ${this.#uri} were left when it was closed`);
  }
}
