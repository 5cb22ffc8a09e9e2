/** Gathers what one volume's decision is made on. */
import { NodeSessionState } from "../../gen/drover/v1/node.ts";
import type { Context } from "../context.ts";
import { isOpen } from "../migration/story.ts";
import type { VolumeRecord } from "../objects.ts";
import type { Observed } from "./decide.ts";

export function observe(key: string, context: Context): Observed | undefined {
  const { caches } = context;
  const volume = caches.volumes.get(key);
  if (!volume) return undefined;
  const held = volume.status.holder;
  const holderKey = held && `${held.namespace}/${held.name}`;
  const { migrationUid } = volume.status;
  return {
    volume,
    holder: holderKey === undefined ? undefined : caches.instances.get(holderKey),
    isOpen: holderKey !== undefined && caches.migrations.by("instance", holderKey).some((one) => one.metadata.uid === migrationUid && isOpen(one)),
    connectedMs: () => connectedMs(volume, context),
  };
}

/** Counted anew in each session: an agent that was away has not removed anything yet. */
function connectedMs({ metadata, spec, status }: VolumeRecord, { caches, stopwatch }: Context): number | undefined {
  const nodes = caches.nodes.list().filter((node) => node.status.report?.pools.some(({ id }) => id === spec.poolId));
  if (nodes.length === 0 || nodes.some((node) => node.status.session?.state !== NodeSessionState.CONNECTED)) return undefined;
  const elapsed = nodes.map((node) => stopwatch.elapsedMs(`vacated/${metadata.uid}/${status.migrationUid}/${node.status.session?.sessionId ?? ""}`));
  return Math.min(...elapsed);
}
