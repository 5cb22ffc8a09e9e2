/** A watch that outlives the server: resumes by revision, and after a gap tells only what is new. */
import { Status } from "nice-grpc-common";
import { RECONNECT, backoffMs } from "../lib/backoff.ts";
import { delay } from "../lib/clock.ts";
import type { Resource } from "./kinds/kind.ts";
import type { ObjectClient, Selection, WatchEvent } from "./objects.ts";
import { hasStatus } from "./session.ts";
import type { Session } from "./session.ts";

/** `synced` comes once, when everything that was there at the beginning has been told. */
export type Change<T> = { type: "added" | "modified" | "deleted"; object: T } | { type: "synced" };

/**
 * What is known, by uid, and where the watch stands. While everything is told anew (`present` is set), objects that did
 * not change are not told again, and those that are missing at the end were deleted in the gap.
 */
export class Followed<T extends Resource> {
  #known = new Map<string, T>();
  #present: Set<string> | undefined = new Set();
  #synced = false;
  revision = "";

  restart(): void {
    this.revision = "";
    this.#present = new Set();
  }

  apply(event: WatchEvent<T>): Change<T>[] {
    if (event.type === "bookmark") {
      this.revision = event.revision;
      return this.#endOfSnapshot();
    }
    // Within a snapshot there is no place to resume from: a cut begins it again.
    if (!this.#present) this.revision = event.revision;
    const uid = event.object.metadata?.uid ?? "";
    if (event.type === "deleted") return this.#forget(uid, event.object);
    const before = this.#known.get(uid);
    this.#known.set(uid, event.object);
    const repeated = this.#present !== undefined && before?.metadata?.resourceVersion === event.object.metadata?.resourceVersion;
    this.#present?.add(uid);
    if (repeated && before !== undefined) return [];
    return [{ type: before ? "modified" : "added", object: event.object }];
  }

  #endOfSnapshot(): Change<T>[] {
    const present = this.#present;
    this.#present = undefined;
    const gone = present ? [...this.#known].filter(([uid]) => !present.has(uid)) : [];
    const changes = gone.flatMap(([uid, object]) => this.#forget(uid, object));
    if (this.#synced) return changes;
    this.#synced = true;
    return [...changes, { type: "synced" }];
  }

  #forget(uid: string, object: T): Change<T>[] {
    this.#present?.delete(uid);
    return this.#known.delete(uid) ? [{ type: "deleted", object }] : [];
  }
}

const LASTING = [Status.UNAVAILABLE, Status.RESOURCE_EXHAUSTED, Status.ABORTED, Status.INTERNAL, Status.UNKNOWN];

/** Ends with the signal. A server that never answered is an error at once; one that answered before is waited for. */
export async function* follow<T extends Resource>(
  objects: ObjectClient<T>, selection: Selection, { clock, random, signal }: Pick<Session, "clock" | "random" | "signal">,
): AsyncGenerator<Change<T>> {
  const followed = new Followed<T>();
  let answered = false;
  for (let attempt = 1; !signal.aborted; attempt += 1) {
    try {
      for await (const event of objects.watch({ ...selection, fromRevision: followed.revision }, signal)) {
        answered = true;
        attempt = 0;
        yield* followed.apply(event);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!answered || !hasStatus(error, ...LASTING, Status.OUT_OF_RANGE)) throw error;
      // ABORTED: the caller's rights have changed, and with them what is there to see.
      if (hasStatus(error, Status.OUT_OF_RANGE, Status.ABORTED) || followed.revision === "") followed.restart();
    }
    await delay(clock, backoffMs(RECONNECT, Math.max(1, attempt), random.fraction()), signal).catch(() => undefined);
  }
}
