/** libvirt's states in the words of the record. Pure: one table. */
import { DomainState } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { DomainState as LibvirtState } from "../libvirt/hypervisor.ts";
import type { OwnerWord, Seen } from "./observed.ts";

/** Undefined where a look comes between two states, and the next look tells. */
const states = {
  nostate: undefined,
  running: DomainState.RUNNING,
  blocked: DomainState.RUNNING,
  paused: DomainState.PAUSED,
  pmsuspended: DomainState.PAUSED,
  shutdown: DomainState.SHUTTING_DOWN,
  shutoff: DomainState.SHUTOFF,
  crashed: DomainState.CRASHED,
} as const satisfies Record<LibvirtState, DomainState | undefined>;

/** Pauses that libvirt makes for itself and ends by itself within moments. */
const PASSING: ReadonlySet<string> = new Set(["starting-up", "migration", "save", "dump", "snapshot", "shutting-down"]);

/** What the owner says of a domain that is there; undefined when there is nothing to say yet. */
export function ownerWord({ state, reason }: Pick<Seen, "state" | "reason">): OwnerWord | undefined {
  const known = states[state];
  if (known === undefined || (state === "paused" && PASSING.has(reason))) return undefined;
  const pausedReason = known === DomainState.PAUSED ? pauseReasons[reason] ?? (state === "pmsuspended" ? "suspended" : reason) : "";
  return { state: known, reason, pausedReason };
}

const pauseReasons: Record<string, string> = { ioerror: "io-error", postcopy: "migration", "postcopy-failed": "migration" };

export const sameWord = (a: Pick<OwnerWord, "state" | "pausedReason">, b: Pick<OwnerWord, "state" | "pausedReason">): boolean =>
  a.state === b.state && a.pausedReason === b.pausedReason;
