/**
 * Whether a node can take a machine, and which of those that can is best: the one function behind the scheduler, the check
 * before a migration and the plan of a drain. Ties go by name, so that one snapshot gives one answer. Pure.
 */
import type { Node } from "../../gen/drover/v1/node.ts";
import { CheckVerdict } from "../../gen/drover/v1/preflight.ts";
import type { Check } from "../../gen/drover/v1/preflight.ts";
import type { Candidate, Snapshot, Wanted } from "./candidate.ts";
import { blocks, checksOf, findingsOf } from "./finding.ts";
import type { Finding, Table } from "./finding.ts";
import { MEASURED } from "./measured.ts";
import type { Measured } from "./measured.ts";
import { nodeFindings, PRESENCE, REPORTED } from "./node.ts";
import { ASKED, isSource, ROOM } from "./room.ts";
import type { RoomInput } from "./room.ts";
import { scoreOf } from "./scores.ts";
import { TRUST } from "./trust.ts";
import type { TrustInput } from "./trust.ts";

/** Everything against the node, what it is like before what was asked for and what is free on it. */
export function* findings(candidate: Candidate, wanted: Wanted): Generator<Finding> {
  const input = { candidate, wanted };
  // A machine fits where it runs; there is nothing else to say of that node.
  if (isSource(candidate, wanted)) return yield* findingsOf<RoomInput>(ASKED, input);
  const { instance, hardware, sourceNode, purpose } = wanted;
  yield* nodeFindings({ instance, hardware, node: candidate.node, sourceNode, purpose });
  yield* findingsOf<TrustInput>(TRUST, { node: candidate.node, ...wanted });
  yield* findingsOf<RoomInput>(ASKED, input);
  yield* findingsOf<RoomInput>(ROOM, input);
  const measured = wanted.measured?.get(candidate.name);
  if (measured) yield* findingsOf<Measured>(MEASURED, measured);
}

/** Every check by name, those that passed too. What is over without anybody's doing only makes the machine wait. */
export function candidateChecks(candidate: Candidate, wanted: Wanted): Check[] {
  const found = [...findings(candidate, wanted)].map((finding) => (finding.passing ? { ...finding, verdict: CheckVerdict.WARN } as const : finding));
  const tables: readonly Table<never>[] = [PRESENCE, REPORTED, TRUST, ASKED, ROOM, ...(wanted.measured?.has(candidate.name) ? [MEASURED] : [])];
  return checksOf(tables, found);
}

/** `reasons` counts the nodes that do not fit by the first reason against each. */
export type Placement<N extends Node = Node> = { chosen: Candidate<N> | undefined; reasons: Record<string, number> };

/** `patient`: a node that has no slot at the moment will do, since the machine can wait for one. */
export function choose<N extends Node>(snapshot: Snapshot<N>, wanted: Wanted, { patient = false } = {}): Placement<N> {
  const reasons: Record<string, number> = {};
  let chosen: Candidate<N> | undefined;
  let best = -Infinity;
  for (const candidate of snapshot) {
    const why = reasonAgainst(candidate, wanted, patient);
    if (why !== undefined) {
      reasons[why] = (reasons[why] ?? 0) + 1;
      continue;
    }
    const score = scoreOf(candidate, wanted);
    if (chosen && (score < best || (score === best && candidate.name > chosen.name))) continue;
    [chosen, best] = [candidate, score];
  }
  return { chosen, reasons };
}

/** The first one; undefined when the node fits. */
function reasonAgainst(candidate: Candidate, wanted: Wanted, patient: boolean): string | undefined {
  for (const finding of findings(candidate, wanted)) if (blocks(finding) && !(patient && finding.passing)) return finding.why;
  return undefined;
}

/** Such as "0/3 nodes fit: 2 too little free memory, 1 node is cordoned". */
export function explain(reasons: Record<string, number>): string {
  const entries = Object.entries(reasons).sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1));
  const total = entries.reduce((sum, [, count]) => sum + count, 0);
  if (total === 0) return "0/0 nodes fit: no node has joined";
  return `0/${total} nodes fit: ${entries.map(([reason, count]) => `${count} ${reason}`).join(", ")}`;
}
