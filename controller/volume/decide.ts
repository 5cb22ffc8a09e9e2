/** Gives a volume back whose holder is gone or never took it, and follows the bytes that migrations copy. Pure. */
import { VolumeState } from "../../gen/drover/v1/volume.ts";
import { NOTHING } from "../actions.ts";
import type { Decision } from "../actions.ts";
import type { Instance, VolumeRecord } from "../objects.ts";

export type Observed = {
  volume: VolumeRecord;
  holder?: Instance | undefined;
  /** The migration that the volume's state is owed to has not ended, as far as its own record says. */
  isOpen: boolean;
  /** For a vacated volume: how long its node has been connected since, undefined while it is not or nobody knows it. */
  connectedMs: () => number | undefined;
};

/** In this time a connected node has removed what was left there: it looks every few seconds, unless it is about something long. */
export const REMOVAL_MS = 600_000;
const REMOVAL_RECHECK_MS = 60_000;

export function decide(observed: Observed): Decision {
  const { volume } = observed;
  switch (fateOf(observed)) {
    case "stays":
      return NOTHING;
    case "free":
      return { actions: [{ do: "free-volume", volume }] };
    case "settle":
      return { actions: [{ do: "settle-volume", volume }] };
    case "vacate":
      return { actions: [{ do: "vacate-volume", volume, migrationUid: volume.status.migrationUid || (observed.holder?.status.migration?.uid ?? "") }] };
    case "forget":
      return forget(observed);
  }
}

/** `settle`: the bytes have arrived. `vacate`: they have left, or did not come. `forget`: nothing is said by it any more. */
export type Fate = "stays" | "free" | "settle" | "vacate" | "forget";

/** By the records alone, so that it may be asked again past every cache before anything is written. */
export function fateOf({ volume, holder, isOpen }: Pick<Observed, "volume" | "holder" | "isOpen">): Fate {
  const { state, migrationUid } = volume.status;
  if (state === VolumeState.VACATED) return "forget";
  // A state of a newer version is left alone.
  if (state !== VolumeState.UNSPECIFIED && state !== VolumeState.INCOMING) return "stays";
  const own = holder?.metadata.uid === volume.status.holder?.vmiUid ? holder : undefined;
  const grant = own?.status.migration;
  if (state === VolumeState.UNSPECIFIED) {
    const hasLeft = grant?.handedOff && grant.copiedDisks.some(({ sourceVolume }) => sourceVolume === volume.metadata.name);
    if (hasLeft) return "vacate";
    return !volume.status.holder || isHeld(volume, holder) ? "stays" : "free";
  }
  if (grant?.uid === migrationUid) return grant.handedOff ? "settle" : "stays";
  if (own?.status.heldVolumes.includes(volume.metadata.name)) return "settle";
  // Taken for a migration that is not entered yet, under the epoch that it will have.
  const isAwaited = isOpen && own !== undefined && (volume.status.holder?.epoch ?? 0) > own.status.lastGrantedEpoch;
  return isAwaited ? "stays" : "vacate";
}

function forget({ volume, connectedMs }: Observed): Decision {
  const elapsedMs = connectedMs();
  if (elapsedMs === undefined || elapsedMs < REMOVAL_MS) return { actions: [], recheckMs: REMOVAL_RECHECK_MS };
  return { actions: [{ do: "delete-volume", volume }] };
}

/** An instance that is not bound yet may be about to be; a bound one names all that it holds, for its whole life. */
export function isHeld({ metadata, status }: VolumeRecord, holder: Instance | undefined): boolean {
  if (!holder || holder.metadata.uid !== status.holder?.vmiUid) return false;
  return holder.status.nodeName === "" || holder.status.heldVolumes.includes(metadata.name);
}
