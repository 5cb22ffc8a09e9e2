/** Gathers what one node's decision is made on. */
import type { Context } from "../context.ts";
import type { Observed } from "./decide.ts";

export function observe(key: string, { caches, clock }: Context): Observed | undefined {
  const node = caches.nodes.get(key);
  return node && { node, instances: caches.instances.by("node", key).length, now: clock.now() };
}
