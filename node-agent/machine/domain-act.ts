/** What a user asks of a running domain, by way of the control plane: whether it may be done now, on a fresh look. Pure. */
import { AssignmentRole, DomainAct, DomainActOutcome } from "../../gen/drover/agent/v1/agent.ts";
import type { ActOnDomain } from "../../gen/drover/agent/v1/agent.ts";
import { active } from "./observed.ts";
import type { Observed, Seen } from "./observed.ts";

/** DONE stands for: do it. */
export type ActVerdict = { outcome: DomainActOutcome; message: string };

/** Pauses that end when somebody lets the guest go on; the others are libvirt's own, or a migration's. */
const RESUMABLE: ReadonlySet<string> = new Set(["user", "ioerror", "watchdog", "crashed", "unknown"]);

const is = (outcome: DomainActOutcome, message = ""): ActVerdict => ({ outcome, message });

export function judgeAct({ assignment, domain, hold }: Pick<Observed, "assignment" | "domain" | "hold">, { act, epoch }: Pick<ActOnDomain, "act" | "epoch">): ActVerdict {
  const instance = assignment?.instance;
  const status = instance?.status;
  if (hold || assignment?.role !== AssignmentRole.OWNER || status?.epoch !== epoch) return is(DomainActOutcome.NOT_OWNER);
  if (status.migration && !status.migration.handedOff) return is(DomainActOutcome.MIGRATING);
  if (instance!.metadata!.deletionTimestamp) return is(DomainActOutcome.DELETING);
  const own = domain?.identity?.vmiUid === instance!.metadata!.uid ? domain : undefined;
  if (!own || !active(own) || own.state === "shutdown") return is(DomainActOutcome.NOT_RUNNING, own ? `libvirt says ${own.state}, ${own.reason}` : "");
  return byAct[act]?.(own) ?? is(DomainActOutcome.UNSPECIFIED);
}

const isStill = ({ state }: Seen): boolean => state === "paused" || state === "pmsuspended";
const canGoOn = ({ state, reason }: Seen): boolean => state === "paused" && RESUMABLE.has(reason);
const busy = ({ state, reason }: Seen): ActVerdict => is(DomainActOutcome.BUSY, `libvirt says ${state}, ${reason}`);
const DONE = is(DomainActOutcome.DONE);
const ALREADY = is(DomainActOutcome.ALREADY);

const byAct: Partial<Record<DomainAct, (own: Seen) => ActVerdict>> = {
  [DomainAct.PAUSE]: (own) => (!isStill(own) ? DONE : canGoOn(own) ? ALREADY : busy(own)),
  [DomainAct.UNPAUSE]: (own) => (!isStill(own) ? ALREADY : canGoOn(own) ? DONE : busy(own)),
  [DomainAct.RESET]: (own) => (!isStill(own) || canGoOn(own) ? DONE : busy(own)),
};
