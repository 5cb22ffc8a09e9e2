/** Everybody's place in the queue, counted when somebody asks after a change that can have moved anyone. */
import type { Clock } from "../../lib/clock.ts";
import { sameMessage } from "../../lib/same.ts";
import type { Config } from "../config.ts";
import type { Caches } from "../context.ts";
import type { Instance, Migration } from "../objects.ts";
import { Durations, expectedStarts, leftMs } from "./expected.ts";
import { optionsFor } from "./observe.ts";
import { places, shownPlace, Taken } from "./queue.ts";
import type { Hold, Place, Use, Waiting } from "./queue.ts";
import { hasEnded, instanceKeyOf, isWaiting } from "./story.ts";

const FREE: Place = { place: 0 };

export class Places {
  readonly #caches: Caches;
  readonly #limits: Config["migrations"];
  readonly #clock: Clock;
  readonly #durations = new Durations();
  #places: ReadonlyMap<string, Place> | undefined;
  #starts: ReadonlyMap<string, number> | undefined;

  /** Follows the caches from their first object on. */
  constructor(caches: Caches, limits: Config["migrations"], clock: Clock) {
    this.#caches = caches;
    this.#limits = limits;
    this.#clock = clock;
    const { migrations, instances, policies, namespaces } = caches;
    policies.onChange(() => this.#forget());
    namespaces.onChange(() => this.#forget());
    migrations.onChange(({ before, after }) => {
      this.#forget();
      if (after && hasEnded(after.status.phase) && !(before && hasEnded(before.status.phase))) this.#durations.learn(after);
    });
    instances.onChange(({ key, before, after }) => {
      const stays = before?.status.nodeName === after?.status.nodeName || migrations.count("instance", key) === 0;
      if (!stays || !sameMessage(before?.status.migration, after?.status.migration)) this.#forget();
    });
  }

  of({ metadata }: Migration): number {
    return (this.#all().get(metadata.uid) ?? FREE).place;
  }

  /** Which limit keeps it waiting. */
  holdOf({ metadata }: Migration): Hold | undefined {
    return this.#all().get(metadata.uid)?.hold;
  }

  /** When it may begin, as it looks now; undefined when that cannot be told. */
  expectedStart({ metadata }: Migration): Date | undefined {
    this.#starts ??= this.#foresee();
    const inMs = this.#starts.get(metadata.uid);
    return inMs === undefined ? undefined : new Date(this.#clock.now().getTime() + inMs);
  }

  /** Whether the node's link has room for it besides those that come there already. */
  canReceive(node: string, migration: Migration): boolean {
    const taken = new Taken(this.#limits);
    for (const instance of this.#moving()) taken.add(useOf(instance));
    return taken.canReceive(node, this.#waitingOf(migration));
  }

  /** Those who may go on, and those whose record is to show another place. */
  moved(): Migration[] {
    return this.#waiting().filter((migration) => {
      const place = this.of(migration);
      const { queuePosition } = migration.status;
      return place === 0 || shownPlace(place, queuePosition) !== queuePosition;
    });
  }

  #forget(): void {
    this.#places = undefined;
    this.#starts = undefined;
  }

  #all(): ReadonlyMap<string, Place> {
    this.#places ??= places(this.#waiting().map((one) => this.#waitingOf(one)), { moving: this.#moving().map(useOf), limits: this.#limits });
    return this.#places;
  }

  #foresee(): ReadonlyMap<string, number> {
    const durationOf = (migration: Migration | undefined) => migration?.status.forecast?.durationMs ?? this.#durations.typicalMs;
    const nowMs = this.#clock.now().getTime();
    const record = ({ metadata, status }: Instance) => this.#caches.migrations.get(`${metadata.namespace}/${status.migration?.name ?? ""}`);
    const moving = this.#moving().map((instance) => ({ ...useOf(instance), leftMs: leftMs(record(instance), { durationMs: durationOf(record(instance)), nowMs }) }));
    const waiting = this.#waiting().map((one) => ({ ...this.#waitingOf(one), durationMs: durationOf(one) }));
    return expectedStarts(waiting, { moving, limits: this.#limits });
  }

  /** Admitted, and not handed over yet. */
  #moving(): Instance[] {
    return this.#caches.instances.by("migrating", "yes").filter(({ status }) => !status.migration?.handedOff);
  }

  #waiting(): Migration[] {
    const { instances, migrations } = this.#caches;
    const admitted = new Set(instances.by("migrating", "yes").map(({ status }) => status.migration?.uid));
    return migrations.by("open", "yes").filter((migration) => isWaiting(migration) && !admitted.has(migration.metadata.uid));
  }

  #waitingOf(migration: Migration): Waiting {
    const instance = this.#caches.instances.get(instanceKeyOf(migration));
    // What policies allow is asked for each look at the queue, and matters only where links have a budget.
    const budget = this.#limits.linkMibPerSecond !== undefined;
    const mibPerSecond = budget ? optionsFor(migration, instance, { context: { caches: this.#caches, limits: { migrations: this.#limits } }, targetNode: undefined }).bandwidthMibPerSecond : 0;
    return { migration, sourceNode: instance?.status.nodeName ?? "", targetNode: migration.spec.targetNode, mibPerSecond };
  }
}

function useOf({ status }: Instance): Use {
  const { sourceNode = "", targetNode = "", bandwidthMibPerSecond = 0 } = status.migration ?? {};
  return { sourceNode, targetNode, mibPerSecond: bandwidthMibPerSecond };
}
