/**
 * When what was seen of a domain still stands (pure). Each look costs libvirt and this host something, and a start alone
 * would take half a dozen: for each step, for each event of the start, for each answer of the control plane.
 */
import { definedDetail, resumedDetail, startedDetail, suspendedDetail } from "../libvirt/constants.ts";
import type { HypervisorEvent } from "../libvirt/hypervisor.ts";
import type { Action } from "./decide.ts";
import type { Seen, SourceMemory } from "./observed.ts";

export type LifecycleNews = Extract<HypervisorEvent, { type: "lifecycle" }>;

/** How a start is told; each of these says no more than that the domain is kept and its guest runs. */
const START: Partial<Record<LifecycleNews["event"], number>> = {
  defined: definedDetail.ADDED,
  started: startedDetail.BOOTED,
  resumed: resumedDetail.UNPAUSED,
};

/** The event tells nothing that the look has not shown. Whatever came after it will be told by an event of its own. */
export function confirms({ event, detail }: LifecycleNews, seen: Seen | undefined): boolean {
  return seen?.state === "running" && seen.persistent && START[event] === detail;
}

/**
 * The guest stands still for the switch-over of a call that is under way: whoever looks now takes the processor from it, and
 * what comes of the call is told by its end.
 */
export function isSwitchOver({ event, detail }: LifecycleNews, source: Pick<SourceMemory, "call"> | undefined): boolean {
  return source?.call === "outstanding" && event === "suspended" && detail === suspendedDetail.MIGRATED;
}

/** Nothing of the host changes by these, and a later event corrects them: an earlier look is enough. */
const HARMLESS: ReadonlySet<Action["do"]> = new Set(["wait", "claim", "report"]);

export const needsFreshLook = (action: Action): boolean => !HARMLESS.has(action.do);

/** A listing shows something else than the last look. */
export function differs(domain: Seen | undefined, last: Seen | undefined): boolean {
  if (!domain || !last) return domain !== last;
  return (["state", "reason", "persistent"] as const).some((key) => domain[key] !== last[key])
    || domain.identity?.vmiUid !== last.identity?.vmiUid
    || domain.identity?.epoch !== last.identity?.epoch;
}
