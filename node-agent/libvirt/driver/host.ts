/** One host: connects, tells, waits for the loss, connects again, until it is detached. */
import { backoffMs, RECONNECT } from "../../../lib/backoff.ts";
import { delay } from "../../../lib/clock.ts";
import type { Random } from "../../../lib/random.ts";
import { HypervisorError } from "../hypervisor.ts";
import type { HostEvent } from "../protocol.ts";
import { Connection } from "./connection.ts";
import type { Surroundings } from "./connection.ts";

export type HostOptions = {
  uri: string;
  surroundings: Surroundings;
  random: Random;
  emit: (event: HostEvent) => void;
};

export class Host {
  readonly #options: HostOptions;
  readonly #detached = new AbortController();
  readonly #closing = new Set<Promise<void>>();
  readonly #ended: Promise<void>;
  #connection: Connection | undefined;
  #lastReason: string | undefined;

  constructor(options: HostOptions) {
    this.#options = options;
    this.#ended = this.#live();
  }

  get connection(): Connection {
    if (this.#connection === undefined) {
      throw new HypervisorError("connection-lost", this.#lastReason ?? "Not connected to libvirt yet");
    }
    return this.#connection;
  }

  /** Resolves when every connection was given back. */
  async detach(): Promise<void> {
    this.#detached.abort();
    await this.#ended;
    await Promise.all(this.#closing);
  }

  async #live(): Promise<void> {
    const { signal } = this.#detached;
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      try {
        await this.#oneConnection();
        attempt = 1; // It had worked: the first attempt after a loss comes soon.
      } catch (error) {
        this.#tellLost(error instanceof Error ? error.message : String(error));
      }
      const { surroundings, random } = this.#options;
      await delay(surroundings.clock, backoffMs(RECONNECT, attempt, random.fraction()), signal).catch(() => undefined);
    }
  }

  async #oneConnection(): Promise<void> {
    const { uri, surroundings, emit } = this.#options;
    // What happens between the subscription and "connected" is held back, so that "connected" comes first.
    const early: HostEvent[] = [];
    let deliver = (event: HostEvent): void => void early.push(event);
    const connection = await Connection.open(uri, surroundings, (event) => deliver(event));
    this.#connection = connection;
    this.#lastReason = undefined;
    emit({ type: "connected" });
    early.forEach(emit);
    deliver = emit;
    const reason = await Promise.race([connection.lost, aborted(this.#detached.signal)]);
    this.#connection = undefined;
    deliver = () => undefined;
    // A lost lane may take its keepalive's time to fail; the next connection does not wait for that.
    this.#giveBack(connection);
    if (reason !== undefined) this.#tellLost(reason);
  }

  #tellLost(reason: string): void {
    if (this.#lastReason !== reason && !this.#detached.signal.aborted) this.#options.emit({ type: "disconnected", reason });
    this.#lastReason = reason;
  }

  #giveBack(connection: Connection): void {
    const { fault } = this.#options.surroundings;
    const closing = connection.close().catch((error: unknown) => fault(`Cannot close a connection: ${String(error)}`));
    this.#closing.add(closing);
    void closing.then(() => this.#closing.delete(closing));
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}
