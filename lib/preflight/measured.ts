/** What nodes answered when they were asked before a move. Whoever did not answer has said nothing against it. Pure. */
import { CheckReason, CheckVerdict } from "../../gen/drover/v1/preflight.ts";
import type { Fault, Row } from "./finding.ts";

/** A word of somebody who was asked, or why there is none. */
export type Answer<T> = { known: T } | { unknown: string };

export type Measured = {
  /** Libvirt's at the target, of the guest's own CPU; empty: guests with it can run there. */
  cpu: Answer<string>;
  /** The source's, of the target's address; empty: there is a way. */
  reach: Answer<string>;
};

const unknownIn = (answer: Answer<string>): Fault =>
  "unknown" in answer ? { verdict: CheckVerdict.WARN, message: `not known: ${answer.unknown}` } : undefined;

const faultIn = (answer: Answer<string>): string | undefined => ("known" in answer && answer.known !== "" ? answer.known : undefined);

export const MEASURED = {
  "node's processor lacks something of the machine's CPU": {
    name: "cpu",
    reason: CheckReason.CPU_INCOMPATIBLE,
    fault: ({ cpu }) => faultIn(cpu),
  },
  "libvirt was not asked about the CPU": {
    name: "cpu",
    reason: CheckReason.NOT_KNOWN,
    fault: ({ cpu }) => unknownIn(cpu),
  },
  "node cannot be reached from the source": {
    name: "reach",
    reason: CheckReason.UNREACHABLE,
    fault: ({ reach }) => faultIn(reach),
  },
  "nobody knows whether node can be reached from the source": {
    name: "reach",
    reason: CheckReason.NOT_KNOWN,
    fault: ({ reach }) => unknownIn(reach),
  },
} as const satisfies Record<string, Row<Measured>>;
