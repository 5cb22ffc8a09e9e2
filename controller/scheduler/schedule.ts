/** Picks a node: filters, then scores; ties go by name, so that one snapshot gives one answer. Pure. */
import { reasonAgainst } from "./filters.ts";
import type { Wanted } from "./filters.ts";
import { scoreOf } from "./scores.ts";
import type { Candidate, Snapshot } from "./snapshot.ts";

/** `reasons` counts the nodes that do not fit by the first reason against each. */
export type Placement = { chosen: Candidate | undefined; reasons: Record<string, number> };

export function schedule(snapshot: Snapshot, wanted: Wanted): Placement {
  const reasons: Record<string, number> = {};
  let chosen: Candidate | undefined;
  let best = -Infinity;
  for (const candidate of snapshot) {
    const reason = reasonAgainst(candidate, wanted);
    if (reason !== undefined) {
      reasons[reason] = (reasons[reason] ?? 0) + 1;
      continue;
    }
    const score = scoreOf(candidate, wanted);
    if (chosen && (score < best || (score === best && candidate.name > chosen.name))) continue;
    [chosen, best] = [candidate, score];
  }
  return { chosen, reasons };
}

/** Such as "0/3 nodes fit: 2 too little free memory, 1 node is cordoned". */
export function explain(reasons: Record<string, number>): string {
  const entries = Object.entries(reasons).sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1));
  const total = entries.reduce((sum, [, count]) => sum + count, 0);
  if (total === 0) return "0/0 nodes fit: no node has joined";
  return `0/${total} nodes fit: ${entries.map(([reason, count]) => `${count} ${reason}`).join(", ")}`;
}
