/**
 * Who may migrate now, and who waits at which place. The order is settled by who asked and since when, and never changes
 * while one waits; others pass those whose own node is full, but never take what the first of them waits for. Pure.
 */
import { MigrationPriority } from "../../gen/drover/v1/migration.ts";
import type { Migration } from "../objects.ts";
import { byAge } from "./story.ts";

export type Limits = {
  fleet: number;
  outboundPerNode: number;
  inboundPerNode: number;
  /** What a node may send, and what it may receive, by the limits of its migrations together; absent for no budget. */
  linkMibPerSecond?: number | undefined;
  /** What a migration without a limit of its own counts as in it; half of it where nothing is said. */
  unlimitedShareMibPerSecond?: number | undefined;
};

/** What one takes: nodes by name, "" where it is not known; 0 for no limit on its bandwidth. */
export type Use = { sourceNode: string; targetNode: string; mibPerSecond: number };

export type Waiting = Use & { migration: Migration };

/** Which limit keeps it waiting, in the words of an operator. */
export type Hold = "the fleet" | "its node" | "the target" | "a link";

/** 0 may go on, else counted from 1. */
export type Place = { place: number; hold?: Hold };

/**
 * By how much earlier one counts as made than it was. A head start instead of classes: whoever waits is overtaken only by
 * those who come within the difference, so that nobody waits for ever, and no order changes by time alone.
 */
export const HEAD_START_MS: Readonly<Record<MigrationPriority, number>> = {
  [MigrationPriority.UNRECOGNIZED]: 0,
  [MigrationPriority.SYSTEM_MAINTENANCE]: 0,
  [MigrationPriority.UNSPECIFIED]: 600_000,
  [MigrationPriority.USER]: 600_000,
  [MigrationPriority.SYSTEM_CRITICAL]: 3_600_000,
};

export function byTurn(a: Migration, b: Migration): number {
  return turnMs(a) - turnMs(b) || byAge(a, b);
}

const turnMs = ({ metadata, spec }: Migration): number => (metadata.creationTimestamp?.getTime() ?? 0) - (HEAD_START_MS[spec.priority] ?? 0);

/** Places by uid. */
export function places(waiting: readonly Waiting[], { moving, limits }: { moving: readonly Use[]; limits: Limits }): Map<string, Place> {
  const taken = new Taken(limits);
  for (const use of moving) taken.add(use);
  let place = 0;
  return new Map(
    waiting.toSorted((a, b) => byTurn(a.migration, b.migration)).map((one) => {
      const hold = taken.holdOf(one);
      const { uid } = one.migration.metadata;
      if (hold === undefined) {
        taken.add(one);
        return [uid, { place: 0 }];
      }
      place += 1;
      // It needs room at two nodes at once: whoever came later could keep one of them taken in turn for ever.
      if (place === 1) taken.reserve(one);
      return [uid, { place, hold }];
    }),
  );
}

/** What is taken of each limit. */
export class Taken {
  readonly #limits: Limits;
  #fleet = 0;
  readonly #outbound = new Map<string, number>();
  readonly #inbound = new Map<string, number>();
  readonly #sent = new Map<string, number>();
  readonly #received = new Map<string, number>();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  add(use: Use): void {
    this.#fleet += 1;
    this.reserve(use);
  }

  /** All that it takes but its place in the fleet. */
  reserve(use: Use): void {
    const { sourceNode, targetNode } = use;
    const share = shareOf(use, this.#limits);
    plus(this.#outbound, sourceNode, 1);
    plus(this.#sent, sourceNode, share);
    if (targetNode === "") return;
    plus(this.#inbound, targetNode, 1);
    plus(this.#received, targetNode, share);
  }

  /** The first limit that leaves no room for it; undefined when all do. */
  holdOf(use: Use): Hold | undefined {
    const { fleet, outboundPerNode, inboundPerNode } = this.#limits;
    if (this.#fleet >= fleet) return "the fleet";
    if (of(this.#outbound, use.sourceNode) >= outboundPerNode) return "its node";
    if (use.targetNode !== "" && of(this.#inbound, use.targetNode) >= inboundPerNode) return "the target";
    return this.#fitsLinks(use) ? undefined : "a link";
  }

  /** Whether the node can receive it besides those that come there already. */
  canReceive(node: string, use: Use): boolean {
    return of(this.#received, node) + shareOf(use, this.#limits) <= (this.#limits.linkMibPerSecond ?? Infinity);
  }

  #fitsLinks(use: Use): boolean {
    const sends = of(this.#sent, use.sourceNode) + shareOf(use, this.#limits) <= (this.#limits.linkMibPerSecond ?? Infinity);
    return sends && (use.targetNode === "" || this.canReceive(use.targetNode, use));
  }
}

/** One whose limit is beyond the whole link takes all of it, and so goes alone. */
export function shareOf({ mibPerSecond }: Use, { linkMibPerSecond, unlimitedShareMibPerSecond }: Limits): number {
  if (linkMibPerSecond === undefined) return 0;
  return Math.min(mibPerSecond || (unlimitedShareMibPerSecond ?? linkMibPerSecond / 2), linkMibPerSecond);
}

const of = (counts: ReadonlyMap<string, number>, name: string): number => counts.get(name) ?? 0;
const plus = (counts: Map<string, number>, name: string, more: number): Map<string, number> => counts.set(name, of(counts, name) + more);

/**
 * What the record of a waiting migration says of its place. Written anew only when the place has moved past a power of two:
 * each one that leaves moves all behind it, and writing every place of a drain would cost the square of its length.
 */
export const shownPlace = (place: number, shown: number): number => (doublings(place) === doublings(shown) ? shown : place);

/** 1 → 0, 2 → 1, 3 and 4 → 2, 5 to 8 → 3; -1 for no place. */
const doublings = (place: number): number => (place <= 0 ? -1 : 32 - Math.clz32(place - 1));
