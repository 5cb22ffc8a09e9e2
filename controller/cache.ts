/**
 * What the controller knows of one kind: the watch's picture, with the controller's own writes laid over it at once. So no
 * decision is ever made on a picture that is older than one's own last write of that object.
 */
import { keyOf } from "./objects.ts";
import type { Named } from "./objects.ts";
import { isLater, positionOf } from "./revision.ts";

export type Index<T> = (object: T) => readonly string[];
export type Change<T> =
  | { type: "put"; object: T; revision: string }
  | { type: "gone"; object: T; revision: string }
  | { type: "bookmark"; revision: string };
export type Listener<T> = (change: { key: string; before: T | undefined; after: T | undefined }) => void;

export class Cache<T extends Named, I extends string = never> {
  readonly #indexes: Record<I, Index<T>>;
  readonly #entries: Record<I, Map<string, Set<string>>>;
  readonly #objects = new Map<string, T>();
  readonly #listeners: Listener<T>[] = [];
  /** Everything up to here has been delivered by the watch. */
  #delivered = "";

  constructor(indexes: Record<I, Index<T>>) {
    this.#indexes = indexes;
    const names = Object.keys(indexes) as I[];
    this.#entries = Object.fromEntries(names.map((name) => [name, new Map<string, Set<string>>()])) as Record<I, Map<string, Set<string>>>;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  list(): T[] {
    return [...this.#objects.values()];
  }

  /** Objects that the index files under the value, in no order. */
  by(index: I, value: string): T[] {
    return [...(this.#entries[index].get(value) ?? [])].map((key) => this.#objects.get(key)!);
  }

  /** How many the index files under the value. */
  count(index: I, value: string): number {
    return this.#entries[index].get(value)?.size ?? 0;
  }

  onChange(listener: Listener<T>): void {
    this.#listeners.push(listener);
  }

  /** A whole list. Own writes that are later than it stay: the watch that follows brings them. */
  replace(objects: readonly T[], revision: string): void {
    const listed = new Map(objects.map((object) => [keyOf(object), object]));
    for (const [key, held] of this.#objects) {
      if (listed.has(key) || isLater(positionOf(held.metadata.resourceVersion), positionOf(revision))) continue;
      this.#set(key, undefined);
    }
    this.#delivered = revision;
    for (const [key, object] of listed) this.#takeNewer(key, object);
  }

  apply(change: Change<T>): void {
    this.#delivered = change.revision;
    if (change.type === "bookmark") return;
    const key = keyOf(change.object);
    if (change.type === "put") return this.#takeNewer(key, change.object);
    const held = this.#objects.get(key);
    if (held && !isLater(positionOf(held.metadata.resourceVersion), positionOf(change.revision))) this.#set(key, undefined);
  }

  /** The answer to an own write. Ignored when the watch is past it already: then it knows better, also of a deletion. */
  wrote(object: T): void {
    const position = positionOf(object.metadata.resourceVersion);
    if (isLater(position, positionOf(this.#delivered))) this.#takeNewer(keyOf(object), object);
  }

  #takeNewer(key: string, object: T): void {
    const held = this.#objects.get(key);
    const [mine, theirs] = [positionOf(held?.metadata.resourceVersion ?? ""), positionOf(object.metadata.resourceVersion)];
    const sameStore = mine?.incarnation === theirs?.incarnation;
    if (held && sameStore && !isLater(theirs, mine)) return;
    this.#set(key, object);
  }

  #set(key: string, after: T | undefined): void {
    const before = this.#objects.get(key);
    if (before) this.#file(key, before, "delete");
    if (after) this.#objects.set(key, after);
    else this.#objects.delete(key);
    if (after) this.#file(key, after, "add");
    for (const listener of this.#listeners) listener({ key, before, after });
  }

  #file(key: string, object: T, how: "add" | "delete"): void {
    for (const name of Object.keys(this.#indexes) as I[]) {
      for (const value of this.#indexes[name](object)) {
        const keys = this.#entries[name].get(value) ?? new Set();
        keys[how](key);
        if (keys.size > 0) this.#entries[name].set(value, keys);
        else this.#entries[name].delete(value);
      }
    }
  }
}
