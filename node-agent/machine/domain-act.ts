/** What a user asks of a running domain, by way of the control plane: whether it may be done now, on a fresh look, and by which call. Pure. */
import { AssignmentRole, DomainAct, DomainActOutcome } from "../../gen/drover/agent/v1/agent.ts";
import type { ActOnDomain } from "../../gen/drover/agent/v1/agent.ts";
import { active, ownDomain } from "./observed.ts";
import type { Observed, Seen } from "./observed.ts";

/** DONE stands for: do it. */
export type ActVerdict = { outcome: DomainActOutcome; message: string };

/** Pauses that end when somebody lets the guest go on; the others are libvirt's own, or a migration's. */
const RESUMABLE: ReadonlySet<string> = new Set(["user", "ioerror", "watchdog", "crashed", "unknown"]);

const is = (outcome: DomainActOutcome, message = ""): ActVerdict => ({ outcome, message });
export const NOT_OWNER = is(DomainActOutcome.NOT_OWNER);
export const TOO_LATE = is(DomainActOutcome.TOO_LATE);

export function judgeAct({ assignment, domain, hold }: Pick<Observed, "assignment" | "domain" | "hold">, { act, epoch }: Pick<ActOnDomain, "act" | "epoch">): ActVerdict {
  const instance = assignment?.instance;
  const status = instance?.status;
  if (hold || assignment?.role !== AssignmentRole.OWNER || status?.epoch !== epoch) return NOT_OWNER;
  if (status.migration && !status.migration.handedOff) return is(DomainActOutcome.MIGRATING);
  if (instance!.metadata!.deletionTimestamp) return is(DomainActOutcome.DELETING);
  const own = ownDomain(domain, instance!);
  if (!own || !active(own) || own.state === "shutdown") return is(DomainActOutcome.NOT_RUNNING, own ? `libvirt says ${own.state}, ${own.reason}` : "");
  return acts[act]?.judge(own) ?? is(DomainActOutcome.UNSPECIFIED);
}

const isStill = ({ state }: Seen): boolean => state === "paused" || state === "pmsuspended";
const canGoOn = ({ state, reason }: Seen): boolean => state === "paused" && RESUMABLE.has(reason);
const busy = ({ state, reason }: Seen): ActVerdict => is(DomainActOutcome.BUSY, `libvirt says ${state}, ${reason}`);
const DONE = is(DomainActOutcome.DONE);
const ALREADY = is(DomainActOutcome.ALREADY);

type Act = { judge: (own: Seen) => ActVerdict; /** What the hypervisor is asked for. */ call: "suspend" | "resume" | "reset" };

const acts: Partial<Record<DomainAct, Act>> = {
  [DomainAct.PAUSE]: { judge: (own) => (!isStill(own) ? DONE : canGoOn(own) ? ALREADY : busy(own)), call: "suspend" },
  [DomainAct.UNPAUSE]: { judge: (own) => (!isStill(own) ? ALREADY : canGoOn(own) ? DONE : busy(own)), call: "resume" },
  [DomainAct.RESET]: { judge: (own) => (!isStill(own) || canGoOn(own) ? DONE : busy(own)), call: "reset" },
};

/** For an act that was judged DONE. */
export const callOf = (act: DomainAct): Act["call"] => acts[act]!.call;
