/** Which of the nodes that fit is best: each score is from 0 to 1, weighed and added. Pure. */
import { TaintEffect } from "../../gen/drover/v1/machine.ts";
import type { Candidate, Wanted } from "./candidate.ts";
import { tolerates } from "./node.ts";

type Score = { weight: number; of: (candidate: Candidate, wanted: Wanted) => number };

export const scores: Record<string, Score> = {
  "spreads by free memory": {
    weight: 1,
    of: ({ freeMemoryBytes, memoryBytes }, { demand }) => Math.max(0, (freeMemoryBytes - demand.memoryBytes) / Math.max(memoryBytes, 1)),
  },
  "keeps arrivals apart": { weight: 1, of: ({ inbound }) => 1 / (1 + inbound) },
  "heeds soft taints": {
    weight: 100,
    of: ({ node }, { instance }) => {
      const soft = (node.spec?.taints ?? []).filter(({ effect }) => effect === TaintEffect.PREFER_NO_SCHEDULE);
      return 1 / (1 + soft.filter((taint) => !instance.tolerations.some((toleration) => tolerates(toleration, taint))).length);
    },
  },
};

export function scoreOf(candidate: Candidate, wanted: Wanted): number {
  return Object.values(scores).reduce((total, { weight, of }) => total + weight * of(candidate, wanted), 0);
}
