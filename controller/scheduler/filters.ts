/**
 * What keeps an instance off a node. What the node is like stands in lib/fit.ts, which the API server shares; here is what
 * depends on the others. Each filter is named by the reason that an operator reads.
 */
import type { Demand } from "../../lib/capacity.ts";
import { fitFaults } from "../../lib/fit.ts";
import type { FitReason } from "../../lib/fit.ts";
import type { ResolvedHardware } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { InstanceSpec, NodeRecord } from "../objects.ts";
import type { Candidate } from "./snapshot.ts";

export type Wanted = {
  instance: InstanceSpec;
  hardware: ResolvedHardware | undefined;
  demand: Demand;
  purpose: "start" | "migrate";
  /** For a migration: what it leaves, and what was asked of the target. */
  sourceNode?: NodeRecord | undefined;
  targetNode?: string | undefined;
  addedNodeSelector?: Record<string, string> | undefined;
  inboundPerNode?: number | undefined;
  /** Images that exist already, with the ids of the pools that have them. */
  disks?: readonly { pool: string; poolIds: readonly string[] }[] | undefined;
};

type Filter = (candidate: Candidate, wanted: Wanted) => boolean;
type Labels = Record<string, string>;

const LACKS_REQUIRED = "node lacks a required label" satisfies FitReason;
const LACKS_ADDED = "lacks a label that was asked for";

const filters: Record<string, Filter> = {
  "is the node it runs on": ({ name }, { sourceNode }) => name !== sourceNode?.metadata.name,
  "is not the node that was asked for": ({ name }, { targetNode }) => !targetNode || name === targetNode,
  [LACKS_ADDED]: ({ node }, { addedNodeSelector }) => missingLabel(node, addedNodeSelector) === undefined,
  // A node with another pool of that name would begin with an empty disk where the machine has one with data.
  "does not have the machine's disk": ({ node }, { disks }) =>
    (disks ?? []).every(({ pool, poolIds }) => poolIds.includes(node.status.report?.pools.find(({ name }) => name === pool)?.id ?? "")),
  "too little free memory": ({ freeMemoryBytes }, { demand }) => freeMemoryBytes >= demand.memoryBytes,
  "too few free processors": ({ freeCpus }, { demand }) => freeCpus >= demand.cpus,
  "too many machines": ({ freePlaces }) => freePlaces >= 1,
  "too many incoming migrations": ({ inbound }, { inboundPerNode }) => inboundPerNode === undefined || inbound < inboundPerNode,
};

/** The first reason against the node, what it is like before what is free on it; undefined when it fits. */
export function reasonAgainst(candidate: Candidate, wanted: Wanted): string | undefined {
  const reason = unlike(candidate.node, wanted) ?? Object.keys(filters).find((name) => !filters[name]!(candidate, wanted));
  if (reason === LACKS_REQUIRED) return named(reason, candidate.node, wanted.instance.nodeSelector);
  return reason === LACKS_ADDED ? named(reason, candidate.node, wanted.addedNodeSelector) : reason;
}

function unlike(node: NodeRecord, { instance, hardware, sourceNode, purpose }: Wanted): FitReason | undefined {
  if (sourceNode?.metadata.name === node.metadata.name) return undefined;
  return fitFaults({ instance, hardware, node, sourceNode, purpose })[0]?.reason;
}

/** Only the first label that a node lacks, so that nodes can still be counted by the reason. */
const named = (reason: string, node: NodeRecord, wanted: Labels | undefined): string => `${reason} (${missingLabel(node, wanted) ?? ""})`;

function missingLabel({ metadata }: NodeRecord, wanted: Labels = {}): string | undefined {
  const missing = Object.keys(wanted).filter((label) => metadata.labels[label] !== wanted[label]);
  const [first] = missing.toSorted();
  return first === undefined ? undefined : `${first}=${wanted[first] ?? ""}`;
}
