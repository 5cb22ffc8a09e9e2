/** Whether two nodes' QEMUs would take one another for what they are. Pure. */
import type { Node } from "../../gen/drover/v1/node.ts";
import { CheckReason, CheckVerdict } from "../../gen/drover/v1/preflight.ts";
import type { Wanted } from "./candidate.ts";
import type { Fault, Row } from "./finding.ts";

export type TrustInput = Pick<Wanted, "sourceNode" | "purpose" | "now"> & { node: Node };

const MINUTE_MS = 60_000;
/** A migration that has begun does not need the certificate any more; one that waits in the queue will. */
const ENDING_MS = 10 * MINUTE_MS;

export const TRUST = {
  "node's certificate does not count": {
    name: "certificate",
    reason: CheckReason.CERTIFICATE_INVALID,
    fault: (input) => certificateFault(input),
  },
  "node's certificate ends soon": {
    name: "certificate-life",
    reason: CheckReason.CERTIFICATE_ENDING,
    fault: ({ node, now, purpose }) => {
      const leftMs = lifeLeftMs(node, now);
      const isEnding = purpose === "migrate" && leftMs > 0 && leftMs < ENDING_MS;
      return isEnding ? { verdict: CheckVerdict.WARN, message: `its certificate ends in ${Math.ceil(leftMs / MINUTE_MS)} minutes` } : undefined;
    },
  },
  "node has another authority than the source": {
    name: "authority",
    reason: CheckReason.AUTHORITY_DIFFERS,
    fault: ({ node, sourceNode, purpose }) => {
      const [here = [], there = []] = [node, sourceNode].map((one) => one?.status?.report?.migrationAuthorities);
      const [ours, theirs] = [here[0], there[0]];
      if (purpose === "start" || ours === undefined || theirs === undefined || (there.includes(ours) && here.includes(theirs))) return undefined;
      return "its QEMU and the source's were given certificates by authorities that do not know each other";
    },
  },
} as const satisfies Record<string, Row<TrustInput>>;

/** The source is held to the same: without a certificate that counts nobody lets it in. */
function certificateFault({ node, sourceNode, purpose, now }: TrustInput): Fault {
  if (purpose === "start") return undefined;
  const [here, there] = [node, sourceNode].map((one) => identityFault(one, now));
  if (here) return `its ${here}`;
  return there && `the source's ${there}`;
}

/** A node of an older control plane has no identity on record, which is no reason to refuse it. */
function identityFault(node: Node | undefined, now: Date | undefined): string | undefined {
  const identity = node?.status?.identity;
  if (!identity) return undefined;
  if (identity.revoked || identity.incarnation === 0) return "identity was revoked, or never given";
  return lifeLeftMs(node, now) <= 0 ? "certificate has ended" : undefined;
}

/** Infinity where nothing is known of an end. */
function lifeLeftMs({ status }: Node, now: Date | undefined): number {
  const end = status?.identity?.certificateExpireTime;
  return end && now ? end.getTime() - now.getTime() : Infinity;
}
