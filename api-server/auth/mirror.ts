/** All objects of one kind in memory, kept by a watch, for what must be answered at every call. */
import { type Clock, delay } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import { type Kind, metaOf, type Resource } from "../kinds/kind.ts";
import type { Reads, WatchEvent } from "../objects.ts";
import { compareRevisions } from "../store/revision.ts";

const RETRY_MS = 1_000;

export type MirrorOptions<T extends Resource> = {
  kind: Kind<T>;
  objects: Pick<Reads, "watch">;
  clock: Clock;
  log: Logger;
  /** Called when the objects have changed, and when they are all there for the first time. */
  changed: () => void;
};

type Waiter = { revision: string; resolve: () => void };

/** For kinds without namespaces: objects are known by name. */
export class Mirror<T extends Resource> {
  readonly #options: MirrorOptions<T>;
  #objects = new Map<string, T>();
  #revision: string | undefined;
  #waiters: Waiter[] = [];

  constructor(options: MirrorOptions<T>) {
    this.#options = options;
  }

  get objects(): ReadonlyMap<string, T> {
    return this.#objects;
  }

  /** Resolves when everything up to the revision is in here; without one, when the first picture is whole. */
  reached(revision: string): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push({ revision, resolve });
      this.#wake();
    });
  }

  /** Until the signal aborts. After a failure the picture is taken anew, and the old one stands until that is whole. */
  async run(signal: AbortSignal): Promise<void> {
    const { kind, objects, clock, log } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#follow(objects.watch(kind, { signal }));
      } catch (error) {
        if (!signal.aborted) log.warn({ error, kind: kind.name }, "the watch broke: starting again");
      }
      await delay(clock, RETRY_MS, signal).catch(() => undefined);
    }
  }

  async #follow(events: AsyncIterable<WatchEvent<T>>): Promise<void> {
    const present = new Map<string, T>();
    let whole = false;
    for await (const event of events) {
      if (event.type === "deleted") present.delete(metaOf(event.object).name);
      else if (event.type !== "bookmark") present.set(metaOf(event.object).name, event.object);
      const first: boolean = !whole && event.type === "bookmark";
      if (!whole && !first) continue;
      whole = true;
      this.#objects = present;
      this.#revision = event.revision;
      if (first || event.type !== "bookmark") this.#options.changed();
      this.#wake();
    }
  }

  #wake(): void {
    const here = this.#revision;
    if (here === undefined) return;
    const due = this.#waiters.filter(({ revision }) => revision === "" || compareRevisions(here, revision) >= 0);
    this.#waiters = this.#waiters.filter((waiter) => !due.includes(waiter));
    for (const { resolve } of due) resolve();
  }
}
