/**
 * Everything that the controller can do to the world. A decision is a list of these, carried out in order until one
 * fails; each names the version it was decided on, so that a second controller or a late answer loses and harms nothing.
 */
import type { EventType } from "../gen/drover/v1/event.ts";
import type { ReleaseReason } from "../gen/drover/v1/virtual_machine_instance.ts";
import type { Instance, Machine, Migration, Named, NodeRecord, VolumeRecord } from "./objects.ts";

export type Kind = "VirtualMachine" | "VirtualMachineInstance" | "VirtualMachineInstanceMigration" | "Node" | "Volume";

/** Something for people to read; lost when nobody takes it, and never waited for. */
export type Notice = { kind: Kind; about: Named; reason: string; message: string; type: EventType };

export type Action =
  /** After a look, past the cache, that the machine still stands at the version that the decision was made on. */
  | { do: "create-instance"; machine: Machine; instance: Instance }
  | { do: "put-machine"; machine: Machine }
  /** Takes the finalizer off, after a look past the cache that no instance is left. */
  | { do: "finish-machine"; machine: Machine }
  /** `fence`, `drain`: only while that statement still stands, past the cache. */
  | {
      do: "delete-instance";
      instance: Instance;
      graceSeconds?: number | undefined;
      fence?: { node: string; id: string } | undefined;
      drain?: { node: string; uid: string } | undefined;
    }
  | { do: "put-instance"; instance: Instance }
  | { do: "release-instance"; instance: Instance; reason: ReleaseReason }
  /** Creates the volume when it has no version yet. */
  | { do: "hold-volume"; volume: VolumeRecord }
  /** After a look, past the cache, that the holder's instance is gone or does not name the volume. */
  | { do: "free-volume"; volume: VolumeRecord }
  /** One that is refused is remembered as that, and holds up nothing that comes after. */
  | { do: "create-migration"; migration: Migration }
  /** The bytes are there, after the same look. */
  | { do: "settle-volume"; volume: VolumeRecord }
  /** They are not, after the same look: from now on the node may remove what it still has there. */
  | { do: "vacate-volume"; volume: VolumeRecord; migrationUid: string }
  | { do: "delete-volume"; volume: VolumeRecord }
  | { do: "put-migration"; migration: Migration }
  | { do: "delete-migration"; migration: Migration }
  | { do: "put-node"; node: NodeRecord }
  | { do: "notify"; notice: Notice };

/** `recheckMs`: look again then, even if nothing changes. */
export type Decision = { actions: Action[]; recheckMs?: number | undefined };

export const NOTHING: Decision = { actions: [] };

export type Execute = { [K in Action["do"]]: (action: Extract<Action, { do: K }>, signal: AbortSignal) => Promise<void> };

/** The earliest of several times, undefined when none is set. */
export function earliest(...times: (number | undefined)[]): number | undefined {
  const set = times.filter((time) => time !== undefined);
  return set.length > 0 ? Math.min(...set) : undefined;
}
