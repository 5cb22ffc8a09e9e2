/** What becomes of an assignment that arrives at a machine's driver. Pure. */
import type { Assignment } from "../../gen/drover/agent/v1/agent.ts";
import { domainUuid } from "./observed.ts";

export type Admission = { answer: "accept" } | { answer: "repeat" } | { answer: "refuse"; reason: "NO_DOMAIN_UUID" | "STALE_EPOCH" };

/** `current` is what this session, or an earlier one, has assigned; only within one session an epoch cannot go back. */
export function admit(offered: Assignment, current: Assignment | undefined, sameSession: boolean): Admission {
  const instance = offered.instance;
  if (!instance?.metadata?.uid || !instance.status || domainUuid(instance) === "") return { answer: "refuse", reason: "NO_DOMAIN_UUID" };
  const known = current?.instance;
  if (!known) return { answer: "accept" };
  const same = known.metadata?.resourceVersion === instance.metadata.resourceVersion && current.role === offered.role;
  if (same) return { answer: "repeat" };
  const older = sameSession && instance.status.epoch < (known.status?.epoch ?? 0);
  return older ? { answer: "refuse", reason: "STALE_EPOCH" } : { answer: "accept" };
}
