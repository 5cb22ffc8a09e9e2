/**
 * Watches: a cursor over the store's log, seen through selectors. What enters the selectors' scope is added, what leaves
 * it is deleted; a quiet watch still says how far it is, and one that falls too far behind is ended.
 */
import { type Clock, delay, type Timer } from "../../lib/clock.ts";
import { ResourceExhausted, Unavailable } from "../../lib/errors.ts";
import { type Kind, type Resource, storePrefix } from "../kinds/kind.ts";
import type { WatchEvent, WatchOptions } from "../objects.ts";
import { compareRevisions, numberOf } from "../store/revision.ts";
import { type Bookmark, type Change, FutureRevision, type Store } from "../store/store.ts";
import type { ReadsOptions } from "./reads.ts";
import { type Selection, selectionOf } from "./selection.ts";

/** Well under the 30 seconds that the API promises. */
const BOOKMARK_EVERY_MS = 20_000;
const AHEAD_WAIT_MS = 5_000;
const AHEAD_POLL_MS = 100;
const SNAPSHOT_PAGE = 500;
const TOO_SLOW_RETRY_MS = 1_000;
/** What a watch may fall behind by unless the server is told otherwise. */
export const WATCH_BACKLOG_BYTES_MAX = 64 * 1024 * 1024;

export async function* watchObjects<T extends Resource>(kind: Kind<T>, options: WatchOptions, reads: ReadsOptions): AsyncGenerator<WatchEvent<T>> {
  const { store, schema, clock, stopping, backlogs, watchBacklogBytesMax: bytesMax = WATCH_BACKLOG_BYTES_MAX } = reads;
  const selection = selectionOf(kind, options, schema);
  const prefix = storePrefix(kind, options.namespace);
  const behind = new AbortController();
  const signal = AbortSignal.any([options.signal, stopping, behind.signal]);
  let reached = options.fromRevision ?? "";
  try {
    if (reached === "") reached = yield* snapshot({ kind, prefix, selection }, reads);
    else await untilReached(store, reached, { clock, signal });
    using backlog = await backlogs.follow(prefix, { bytesMax, exceeded: () => behind.abort() });
    for await (const change of withHeartbeat((ends) => store.watch(prefix, reached, ends), reached, { clock, signal })) {
      if (change.type === "bookmark") yield change;
      else yield* seen(change, selection, (value) => reads.decoded.of(kind).read(value, change.revision, reads.revealed));
      reached = change.revision;
      if (change.type !== "bookmark") backlog.took(change);
      signal.throwIfAborted();
    }
  } catch (error) {
    if (stopping.aborted) throw new Unavailable("The server is stopping: watch again from the last revision", { reason: "STOPPING" });
    throw behind.signal.aborted && !options.signal.aborted ? tooSlow(reached, bytesMax) : error;
  }
}

/** The reader has got everything up to the revision. */
function tooSlow(revision: string, bytesMax: number): ResourceExhausted {
  const message = `The watch is more than ${bytesMax} bytes of changes behind: watch again from the last revision`;
  return new ResourceExhausted(message, { reason: "WATCH_TOO_SLOW", metadata: { revision } }, TOO_SLOW_RETRY_MS);
}

type Scope<T extends Resource> = { kind: Kind<T>; prefix: string; selection: Selection<T> };

/** Everything that is there, at one revision, which it returns. */
async function* snapshot<T extends Resource>({ kind, prefix, selection }: Scope<T>, reads: ReadsOptions): AsyncGenerator<WatchEvent<T>, string> {
  let after: string | undefined;
  let at: string | undefined;
  for (;;) {
    const page = await reads.store.list(prefix, { limit: SNAPSHOT_PAGE, ...(after !== undefined && { after }), ...(at !== undefined && { at }) });
    for (const { value, revision } of page.items) {
      const object = reads.decoded.of(kind).read(value, revision, reads.revealed);
      if (selection.matches(object)) yield { type: "added", object, revision: page.revision };
    }
    if (page.next === undefined) return page.revision;
    after = page.next;
    at = page.revision;
  }
}

/** What one change is to a watcher: nothing, or one event. */
function* seen<T>(change: Change, selection: Selection<T>, read: (value: Uint8Array) => T): Generator<WatchEvent<T>> {
  const { revision } = change;
  const before = change.previous && (selection.everything ? change.previous : within(read(change.previous), selection));
  if (change.type === "delete") {
    if (before) yield { type: "deleted", object: read(change.previous), reason: "deleted", revision };
    return;
  }
  const object = read(change.value);
  if (selection.matches(object)) yield { type: before ? "modified" : "added", object, revision };
  else if (before) yield { type: "deleted", object, reason: "out-of-scope", revision };
}

const within = <T>(object: T, selection: Selection<T>) => (selection.matches(object) ? object : undefined);

/** A revision of this store that this process has not seen yet may be on its way; any other is refused at once by the store. */
async function untilReached(store: Store, from: string, { clock, signal }: { clock: Clock; signal: AbortSignal }): Promise<void> {
  const ahead = async () => {
    const head = await store.head();
    const known = numberOf(from, store.identity.incarnation) !== undefined;
    return known && compareRevisions(from, head) > 0 ? head : undefined;
  };
  const end = clock.monotonicMs() + AHEAD_WAIT_MS;
  for (let head = await ahead(); head !== undefined; head = await ahead()) {
    if (clock.monotonicMs() >= end) throw new FutureRevision(from, head);
    await delay(clock, AHEAD_POLL_MS, signal);
  }
}

/**
 * The store's first bookmark says that the revision can be read from, and goes out at once. Later ones come with every
 * commit anywhere: watchers get the newest of them only when nothing else came for a while.
 */
async function* withHeartbeat(
  open: (signal: AbortSignal) => AsyncIterable<Change | Bookmark>,
  from: string,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): AsyncGenerator<Change | Bookmark> {
  const left = new AbortController();
  const iterator = open(AbortSignal.any([signal, left.signal]))[Symbol.asyncIterator]();
  let revision = "";
  let next = pull(iterator);
  // A reader that does not come back leaves this suspended: what its cursor holds is let go of all the same.
  const release = () => void iterator.return?.().catch(() => undefined);
  signal.addEventListener("abort", release, { once: true });
  using beat = new Heartbeat(clock);
  try {
    for (;;) {
      const result = await beat.unless(next);
      if (result === undefined) {
        yield { type: "bookmark", revision: revision || from };
        continue;
      }
      if (result.done) return;
      const first = revision === "";
      revision = result.value.revision;
      next = pull(iterator);
      if (first || result.value.type !== "bookmark") yield result.value;
    }
  } finally {
    signal.removeEventListener("abort", release);
    left.abort();
    await iterator.return?.().catch(() => undefined);
  }
}

/** Asks for the next change ahead of the reader; a failure shows when the reader comes to it. */
function pull<T>(iterator: AsyncIterator<T>): Promise<IteratorResult<T>> {
  const next = iterator.next();
  next.catch(() => undefined);
  return next;
}

const sleepOn = (): void => undefined;

/** Nothing of the many changes between two beats stays with it, as it would with a promise that all of them race. */
class Heartbeat implements Disposable {
  readonly #clock: Clock;
  #timer: Timer;
  #isDue = false;
  #wake = sleepOn;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#timer = this.#arm();
  }

  /** What comes first: the change, or undefined at a beat. */
  unless<T>(next: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#wake = () => {
        this.#wake = sleepOn;
        this.#isDue = false;
        this.#timer = this.#arm();
        resolve(undefined);
      };
      const came = (change: T) => {
        this.#wake = sleepOn;
        resolve(change);
      };
      next.then(came, reject);
      if (this.#isDue) this.#wake();
    });
  }

  [Symbol.dispose](): void {
    this.#timer.cancel();
  }

  #arm(): Timer {
    return this.#clock.after(BOOKMARK_EVERY_MS, () => {
      this.#isDue = true;
      this.#wake();
    });
  }
}
