/** A watch as a client has it, with the moment at which each message came. */
import { systemClock } from "../lib/clock.ts";

export type Sighting<T> = { atMs: number; object: T; deleted: boolean };

type Deleted<T> = { virtualMachineInstance?: T | undefined; virtualMachine?: T | undefined; migration?: T | undefined };
export type WatchMessage<T> = {
  event?: { $case: "added" | "modified"; value: T } | { $case: "deleted"; value: Deleted<T> } | { $case: "bookmark"; value: unknown } | undefined;
};

type Waiting<T> = { holds: (sighting: Sighting<T>) => boolean; resolve: (sighting: Sighting<T>) => void; reject: (error: unknown) => void };

export class WatchTimedOut extends Error {
  override name = "WatchTimedOut";
}

const TIMEOUT_MS = 60_000;

export class Watch<T> implements Disposable {
  readonly #stop = new AbortController();
  readonly #waiting = new Set<Waiting<T>>();
  readonly #listeners = new Set<(sighting: Sighting<T>) => void>();
  readonly #standing = Promise.withResolvers<void>();

  private constructor(stream: (signal: AbortSignal) => AsyncIterable<WatchMessage<T>>) {
    void this.#read(stream).catch((error: unknown) => {
      if (!this.#stop.signal.aborted) this.#fail(error);
    });
  }

  /** Resolves when the server has answered, so that nothing that follows can be missed. */
  static async open<T>(stream: (signal: AbortSignal) => AsyncIterable<WatchMessage<T>>): Promise<Watch<T>> {
    const watch = new Watch(stream);
    await watch.#standing.promise;
    return watch;
  }

  /** The first message from now on that holds. Ask before doing what shall cause it. */
  next(what: string, holds: (sighting: Sighting<T>) => boolean, timeoutMs = TIMEOUT_MS): Promise<Sighting<T>> {
    return new Promise((resolve, reject) => {
      const timer = systemClock.after(timeoutMs, () => settle(() => reject(new WatchTimedOut(`Waited ${timeoutMs} ms for ${what}`))));
      const settle = (then: () => void) => {
        timer.cancel();
        this.#waiting.delete(waiting);
        then();
      };
      const waiting: Waiting<T> = {
        holds,
        resolve: (sighting) => settle(() => resolve(sighting)),
        reject: (error) => settle(() => reject(error as Error)),
      };
      this.#waiting.add(waiting);
    });
  }

  /** Every message from now on. */
  each(listener: (sighting: Sighting<T>) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  [Symbol.dispose](): void {
    this.#stop.abort(new Error("The watch is closed"));
  }

  async #read(stream: (signal: AbortSignal) => AsyncIterable<WatchMessage<T>>): Promise<void> {
    for await (const { event } of stream(this.#stop.signal)) {
      const atMs = systemClock.monotonicMs();
      this.#standing.resolve();
      if (event?.$case === "added" || event?.$case === "modified") this.#see({ atMs, object: event.value, deleted: false });
      else if (event?.$case === "deleted") this.#see({ atMs, object: objectOf(event.value), deleted: true });
    }
    throw new Error("The server ended the watch");
  }

  #see(sighting: Sighting<T>): void {
    for (const listener of this.#listeners) listener(sighting);
    for (const waiting of this.#waiting) if (waiting.holds(sighting)) waiting.resolve(sighting);
  }

  #fail(error: unknown): void {
    this.#standing.reject(error);
    for (const waiting of this.#waiting) waiting.reject(error);
  }
}

const objectOf = <T>(deleted: Deleted<T>): T => (deleted.virtualMachineInstance ?? deleted.virtualMachine ?? deleted.migration)!;
