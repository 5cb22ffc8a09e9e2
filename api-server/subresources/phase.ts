/** A run's phase as its owner's report makes it: one table, and a final phase never changes. Pure. */
import { DomainState, Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { OwnerReport } from "../../gen/drover/v1/virtual_machine_instance.ts";

export const isFinal = (phase: Phase): boolean => phase === Phase.SUCCEEDED || phase === Phase.FAILED;

/** What a domain state means for the run: nothing yet, that the guest runs, or that it has ended. */
type Meaning = "none" | "runs" | "ended";

const MEANINGS: Record<DomainState, Meaning> = {
  [DomainState.UNRECOGNIZED]: "none",
  [DomainState.UNSPECIFIED]: "none",
  [DomainState.PREPARING]: "none",
  [DomainState.RUNNING]: "runs",
  [DomainState.PAUSED]: "runs",
  [DomainState.SHUTTING_DOWN]: "runs",
  [DomainState.SHUTOFF]: "ended",
  [DomainState.CRASHED]: "ended",
  [DomainState.START_FAILED]: "ended",
  [DomainState.GONE]: "ended",
};

/** A state of a newer agent means nothing until this server knows it. */
export const meaningOf = (state: DomainState): Meaning => MEANINGS[state] ?? "none";

/** libvirt's reasons as words for programs; whatever else ended a guest stands as Ended with libvirt's word in the message. */
const REASONS: Record<string, string> = {
  shutdown: "GuestShutdown",
  crashed: "GuestCrashed",
  destroyed: "Destroyed",
  lost: "DomainLost",
  failed: "HypervisorFailed",
  migrated: "Migrated",
};

export type Outcome = { phase: Phase; reason: string; message: string };

/** The phase after a report; undefined when the report changes nothing about it. */
export function phaseAfter(phase: Phase, { state, reason, message }: OwnerReport, deleting: boolean): Outcome | undefined {
  if (isFinal(phase)) return undefined;
  const meaning = meaningOf(state);
  if (meaning === "none") return undefined;
  if (meaning === "runs") return phase === Phase.RUNNING ? undefined : { phase: Phase.RUNNING, reason: "", message: "" };
  if (deleting) return { phase: Phase.SUCCEEDED, reason: "Stopped", message: message || "It was stopped as asked" };
  if (reason === "shutdown") return { phase: Phase.SUCCEEDED, reason: "GuestShutdown", message: message || "The guest shut itself down" };
  if (state === DomainState.START_FAILED) return { phase: Phase.FAILED, reason: "StartFailed", message };
  return { phase: Phase.FAILED, reason: REASONS[reason] ?? "Ended", message: message || `The domain ended: ${reason || "no reason was given"}` };
}
