/** A step of a plan in a few words, for the story of a seed. */
import type { Fault, Step, Verb, When } from "./plan.ts";

export const tellStep = (step: Step): string => `${tellWhen(step.when)} ${step.act === "verb" ? tellVerb(step.verb) : tellFault(step.fault)}`;

const tellWhen = (when: When): string =>
  "atMs" in when ? `at ${(when.atMs / 1_000).toFixed(1)} s` : `${when.delayMs} ms after migration ${when.move} is ${when.phase}:`;

function tellVerb(verb: Verb): string {
  if ("node" in verb) return `${verb.verb} ${verb.node}`;
  if (verb.verb !== "migrate") return `${verb.verb} m${verb.machine}`;
  return `migrate m${verb.machine}${verb.to && ` to ${verb.to}`} (migration ${verb.move})`;
}

function tellFault(fault: Fault): string {
  if (fault.party === "failpoint") return `${fault.life} dies at ${fault.point}, pass ${fault.nth}`;
  const { party, harm, node, other, forMs } = fault;
  return `${party} ${harm} (${node}${party === "link" ? `-${other}` : ""}) for ${forMs / 1_000} s`;
}
