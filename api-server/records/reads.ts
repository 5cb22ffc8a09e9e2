/** Reads of objects: linearizable gets, lists that stay at one revision from page to page. */
import type { Clock } from "../../lib/clock.ts";
import { NotFound } from "../../lib/errors.ts";
import { type Key, type Kind, type Resource, storeKey, storePrefix } from "../kinds/kind.ts";
import type { ListOptions, ListPage, Reads, WatchEvent, WatchOptions } from "../objects.ts";
import type { Store } from "../store/store.ts";
import type { Schema } from "../validate/schema.ts";
import type { Backlogs } from "./backlog.ts";
import type { Decoded } from "./codec.ts";
import { formatPageToken, type ListIdentity, parsePageToken } from "./page-token.ts";
import { selectionOf } from "./selection.ts";
import { watchObjects } from "./watch.ts";

const PAGE_SIZE = 100;
const PAGE_SIZE_MAX = 500;

export type ReadsOptions = {
  store: Store;
  schema: Schema;
  clock: Clock;
  /** Ends every watch. */
  stopping: AbortSignal;
  /** Secret values are left in. */
  revealed: boolean;
  /** One for everyone who reads. */
  decoded: Decoded;
  backlogs: Backlogs;
  /** Bytes of changes that a watch may fall behind by. */
  watchBacklogBytesMax?: number | undefined;
};

export class StoreReads implements Reads {
  readonly #options: ReadsOptions;

  constructor(options: ReadsOptions) {
    this.#options = options;
  }

  async get<T extends Resource>(kind: Kind<T>, key: Key): Promise<T> {
    const found = await this.find(kind, key);
    if (found === undefined) throw new NotFound(storeKey(kind, key));
    return found;
  }

  async find<T extends Resource>(kind: Kind<T>, key: Key): Promise<T | undefined> {
    const { store, decoded, revealed } = this.#options;
    const stored = await store.get(storeKey(kind, key));
    return stored && decoded.of(kind).read(stored.value, stored.revision, revealed);
  }

  async list<T extends Resource>(kind: Kind<T>, options: ListOptions = {}): Promise<ListPage<T>> {
    const { store, schema, clock, decoded, revealed } = this.#options;
    const { namespace = "", labelSelector = "", fieldSelector = "", pageToken = "" } = options;
    const selection = selectionOf(kind, options, schema);
    const identity: ListIdentity = { storeId: store.identity.storeId, kind: kind.plural, namespace, labelSelector, fieldSelector };
    const nowMs = clock.now().getTime();
    const size = Math.min(options.pageSize || PAGE_SIZE, PAGE_SIZE_MAX);
    let place: { revision?: string; after?: string } = pageToken === "" ? {} : parsePageToken(pageToken, identity, nowMs);
    const items: T[] = [];
    for (;;) {
      const page = await store.list(storePrefix(kind, namespace), {
        limit: size - items.length,
        ...(place.after !== undefined && { after: place.after }),
        ...(place.revision !== undefined && { at: place.revision }),
      });
      const read = page.items.map(({ value, revision }) => decoded.of(kind).read(value, revision, revealed));
      items.push(...read.filter((object) => selection.matches(object)));
      const { revision, next } = page;
      if (next === undefined) return { items, nextPageToken: "", revision };
      if (items.length >= size) return { items, nextPageToken: formatPageToken({ revision, after: next }, identity, nowMs), revision };
      place = { revision, after: next };
    }
  }

  watch<T extends Resource>(kind: Kind<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>> {
    return watchObjects(kind, options, this.#options);
  }
}
