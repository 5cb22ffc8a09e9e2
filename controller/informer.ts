/**
 * Keeps one cache true: lists once, watches from there, resumes where it stopped, lists again when the server no longer
 * has the place, and comes back for ever, whatever happens to the server.
 */
import { ClientError, Status } from "nice-grpc";
import { backoffMs, RECONNECT } from "../lib/backoff.ts";
import { delay } from "../lib/clock.ts";
import type { Clock, Timer } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Random } from "../lib/random.ts";
import type { Cache, Change } from "./cache.ts";
import type { Named } from "./objects.ts";

/** The server sends a bookmark at least every 30 s; a watch that is still for longer is dead without having said so. */
const SILENCE_MAX_MS = 90_000;

export type Page<T> = { objects: T[]; nextPageToken: string; revision: string };

export type Source<T> = {
  kind: string;
  page(pageToken: string, signal: AbortSignal): Promise<Page<T>>;
  watch(fromRevision: string, signal: AbortSignal): AsyncIterable<Change<T>>;
};

type Informed<T extends Named, I extends string> = {
  source: Source<T>;
  cache: Cache<T, I>;
  clock: Clock;
  random: Random;
  log: Logger;
  signal: AbortSignal;
  /** After the first whole list. */
  onSynced: () => void;
};

/** Returns when the signal aborts. */
export async function inform<T extends Named, I extends string>(informed: Informed<T, I>): Promise<void> {
  const { source, clock, random, signal } = informed;
  const log = informed.log.child({ informer: source.kind });
  let from = "";
  let attempt = 0;
  const progress = (revision: string) => {
    from = revision;
    attempt = 0;
  };
  while (!signal.aborted) {
    try {
      if (from === "") {
        progress(await list(informed));
        informed.onSynced();
      }
      await follow(informed, { from, progress });
    } catch (error) {
      if (signal.aborted) return;
      if (isOutOfRange(error)) from = "";
      attempt += 1;
      log[attempt > 3 ? "warn" : "debug"]({ error, attempt }, "watch ended, going on");
    }
    await delay(clock, backoffMs(RECONNECT, Math.max(attempt, 1), random.fraction()), signal).catch(() => undefined);
  }
}

/** Every page of one revision; answers the revision. */
async function list<T extends Named, I extends string>({ source, cache, signal }: Informed<T, I>): Promise<string> {
  const objects: T[] = [];
  for (let token = ""; ;) {
    const page = await source.page(token, signal);
    objects.push(...page.objects);
    token = page.nextPageToken;
    if (token !== "") continue;
    cache.replace(objects, page.revision);
    return page.revision;
  }
}

async function follow<T extends Named, I extends string>(
  { source, cache, clock, signal }: Informed<T, I>,
  { from, progress }: { from: string; progress: (revision: string) => void },
): Promise<void> {
  using patience = new Patience(clock, signal);
  for await (const change of source.watch(from, patience.signal)) {
    patience.renew();
    cache.apply(change);
    progress(change.revision);
  }
}

/** Ends a watch that has been still for too long. */
class Patience implements Disposable {
  readonly #clock: Clock;
  readonly #parent: AbortSignal;
  readonly #controller = new AbortController();
  readonly #stop = () => this.#controller.abort(this.#parent.reason);
  #timer: Timer;

  constructor(clock: Clock, parent: AbortSignal) {
    this.#clock = clock;
    this.#parent = parent;
    parent.addEventListener("abort", this.#stop, { once: true });
    this.#timer = this.#arm();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  renew(): void {
    this.#timer.cancel();
    this.#timer = this.#arm();
  }

  [Symbol.dispose](): void {
    this.#timer.cancel();
    this.#parent.removeEventListener("abort", this.#stop);
  }

  #arm(): Timer {
    return this.#clock.after(SILENCE_MAX_MS, () => this.#controller.abort(new Error("The watch has been silent for too long")));
  }
}

const isOutOfRange = (error: unknown): boolean => error instanceof ClientError && error.code === Status.OUT_OF_RANGE;
