/** Gives a volume back whose holder is gone or never took it. Pure. */
import { NOTHING } from "../actions.ts";
import type { Decision } from "../actions.ts";
import type { Instance, VolumeRecord } from "../objects.ts";

export type Observed = { volume: VolumeRecord; holder?: Instance | undefined };

export function decide({ volume, holder }: Observed): Decision {
  if (!volume.status.holder || isHeld(volume, holder)) return NOTHING;
  return { actions: [{ do: "free-volume", volume }] };
}

/** An instance that is not bound yet may be about to be; a bound one names all that it holds, for its whole life. */
export function isHeld({ metadata, status }: VolumeRecord, holder: Instance | undefined): boolean {
  if (!holder || holder.metadata.uid !== status.holder?.vmiUid) return false;
  return holder.status.nodeName === "" || holder.status.heldVolumes.includes(metadata.name);
}
