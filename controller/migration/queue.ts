/** Who may migrate now, and who waits at which place: first come, first served, past those whose own node is full. */
import type { Caches } from "../context.ts";
import type { Instance, Migration } from "../objects.ts";
import { sameMessage } from "../../lib/same.ts";
import { byAge, instanceKeyOf, isWaiting } from "./story.ts";

export type Limits = { fleet: number; outboundPerNode: number; inboundPerNode: number };

/** A waiting migration with the node that it leaves; `undefined` when its instance has no node. */
export type Waiting = { migration: Migration; sourceNode: string | undefined };

/** Places by uid: 0 may go on, else from 1. Pure. */
export function places(waiting: readonly Waiting[], { active, limits }: { active: readonly Instance[]; limits: Limits }): Map<string, number> {
  const outbound = tally(active.map(({ status }) => status.migration?.sourceNode));
  const inbound = tally(active.map(({ status }) => status.migration?.targetNode));
  let fleet = active.length;
  let place = 0;
  const order = waiting.toSorted((a, b) => byAge(a.migration, b.migration));
  return new Map(
    order.map(({ migration, sourceNode = "" }) => {
      const target = migration.spec.targetNode;
      const room = fleet < limits.fleet && outbound.get(sourceNode) < limits.outboundPerNode && (target === "" || inbound.get(target) < limits.inboundPerNode);
      if (!room) return [migration.metadata.uid, (place += 1)];
      fleet += 1;
      outbound.add(sourceNode);
      if (target !== "") inbound.add(target);
      return [migration.metadata.uid, 0];
    }),
  );
}

function tally(names: readonly (string | undefined)[]) {
  const counts = new Map<string, number>();
  const add = (name: string) => counts.set(name, (counts.get(name) ?? 0) + 1);
  for (const name of names) if (name !== undefined) add(name);
  return { add, get: (name: string) => counts.get(name) ?? 0 };
}

/**
 * What the record of a waiting migration says of its place. Written anew only when the place has moved past a power of two:
 * each one that leaves moves all behind it, and writing every place of a drain would cost the square of its length. Pure.
 */
export const shownPlace = (place: number, shown: number): number => (doublings(place) === doublings(shown) ? shown : place);

/** 1 → 0, 2 → 1, 3 and 4 → 2, 5 to 8 → 3; -1 for no place. */
const doublings = (place: number): number => (place <= 0 ? -1 : 32 - Math.clz32(place - 1));

/** Everybody's place, counted when somebody asks after a change that can have moved anyone. */
export class Places {
  readonly #caches: Caches;
  readonly #limits: Limits;
  #places: ReadonlyMap<string, number> | undefined;

  /** Follows the caches from their first object on. */
  constructor(caches: Caches, limits: Limits) {
    this.#caches = caches;
    this.#limits = limits;
    const { migrations, instances } = caches;
    migrations.onChange(() => this.#forget());
    instances.onChange(({ key, before, after }) => {
      const stays = before?.status.nodeName === after?.status.nodeName || migrations.count("instance", key) === 0;
      if (!stays || !sameMessage(before?.status.migration, after?.status.migration)) this.#forget();
    });
  }

  of({ metadata }: Migration): number {
    return this.#all().get(metadata.uid) ?? 0;
  }

  /** Those who may go on, and those whose record is to show another place. */
  moved(): Migration[] {
    const all = this.#all();
    return this.#waiting().filter(({ metadata, status }) => {
      const place = all.get(metadata.uid) ?? 0;
      return place === 0 || shownPlace(place, status.queuePosition) !== status.queuePosition;
    });
  }

  #forget(): void {
    this.#places = undefined;
  }

  #all(): ReadonlyMap<string, number> {
    this.#places ??= this.#count();
    return this.#places;
  }

  #count(): ReadonlyMap<string, number> {
    const moving = this.#caches.instances.by("migrating", "yes");
    const active = moving.filter(({ status }) => !status.migration?.handedOff);
    const queue = this.#waiting().map((migration) => ({ migration, sourceNode: this.#caches.instances.get(instanceKeyOf(migration))?.status.nodeName }));
    return places(queue, { active, limits: this.#limits });
  }

  #waiting(): Migration[] {
    const { instances, migrations } = this.#caches;
    const admitted = new Set(instances.by("migrating", "yes").map(({ status }) => status.migration?.uid));
    return migrations.by("open", "yes").filter((migration) => isWaiting(migration) && !admitted.has(migration.metadata.uid));
  }
}
