/** Gathers what one volume's decision is made on. */
import type { Context } from "../context.ts";
import type { Observed } from "./decide.ts";

export function observe(key: string, { caches }: Context): Observed | undefined {
  const volume = caches.volumes.get(key);
  if (!volume) return undefined;
  const held = volume.status.holder;
  return { volume, holder: held && caches.instances.get(`${held.namespace}/${held.name}`) };
}
