/** Who may migrate now, and who waits at which place: first come, first served, past those whose own node is full. Pure. */
import type { Instance, Migration } from "../objects.ts";
import { byAge } from "./story.ts";

export type Limits = { fleet: number; outboundPerNode: number; inboundPerNode: number };

/** A waiting migration with the node that it leaves; `undefined` when its instance has no node. */
export type Waiting = { migration: Migration; sourceNode: string | undefined };

/** Places by uid: 0 may go on, else from 1. */
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
