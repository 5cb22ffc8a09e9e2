/** What keeps a machine off a node because of what was asked for, and because of what others have there. Pure. */
import { CheckReason } from "../../gen/drover/v1/preflight.ts";
import { mebibytes } from "../quantity.ts";
import type { Candidate, Wanted } from "./candidate.ts";
import type { Row } from "./finding.ts";
import { labelFault } from "./node.ts";

export type RoomInput = { candidate: Candidate; wanted: Wanted };

export const ASKED = {
  "is the node it runs on": {
    name: "source",
    reason: CheckReason.IS_SOURCE,
    fault: ({ candidate, wanted }) => (isSource(candidate, wanted) ? "the machine runs on it already" : undefined),
  },
  "is not the node that was asked for": {
    name: "target-node",
    reason: CheckReason.NOT_ASKED_FOR,
    fault: ({ candidate, wanted: { targetNode } }) =>
      targetNode && candidate.name !== targetNode ? `"${targetNode}" was asked for` : undefined,
  },
  "lacks a label that was asked for": {
    name: "added-node-selector",
    reason: CheckReason.ADDED_LABEL_MISSING,
    fault: ({ candidate, wanted }) => labelFault("lacks a label that was asked for", candidate.node, wanted.addedNodeSelector),
  },
  // A node with another pool of that name would begin with an empty disk where the machine has one with data.
  "does not have the machine's disk": {
    name: "disk-data",
    reason: CheckReason.DISK_ELSEWHERE,
    fault: ({ candidate: { node }, wanted: { disks = [] } }) => {
      const elsewhere = disks.filter(({ pool, poolIds }) => !poolIds.includes(node.status?.report?.pools.find(({ name }) => name === pool)?.id ?? ""));
      return elsewhere.length > 0 ? `the machine's data is in another pool than its ${elsewhere.map(({ pool }) => pool).join(", ")}` : undefined;
    },
  },
  "has another image under the disk's name": {
    name: "disk-names",
    reason: CheckReason.DISK_NAME_TAKEN,
    fault: ({ candidate: { node }, wanted: { occupied } }) => {
      const taken = occupied?.(node) ?? [];
      return taken.length > 0 ? `its pool has images of others under the names ${taken.join(", ")}` : undefined;
    },
  },
} as const satisfies Record<string, Row<RoomInput>>;

export const ROOM = {
  "too little free memory": {
    name: "memory",
    reason: CheckReason.MEMORY,
    fault: ({ candidate: { freeMemoryBytes }, wanted: { demand } }) =>
      freeMemoryBytes >= demand.memoryBytes
        ? undefined
        : `the machine takes ${mebibytes(demand.memoryBytes)} of memory with its overhead, and ${mebibytes(Math.max(0, freeMemoryBytes))} are free`,
  },
  "too few free processors": {
    name: "processors",
    reason: CheckReason.PROCESSORS,
    fault: ({ candidate: { freeCpus }, wanted: { demand } }) =>
      freeCpus >= demand.cpus ? undefined : `the machine has ${demand.cpus} virtual processors, and ${Math.max(0, freeCpus)} are free`,
  },
  "too many machines": {
    name: "machines",
    reason: CheckReason.MACHINES,
    fault: ({ candidate: { freePlaces } }) => (freePlaces >= 1 ? undefined : "it has as many machines as it may"),
  },
  "too many incoming migrations": {
    name: "inbound-slots",
    reason: CheckReason.INBOUND_SLOTS,
    passing: true,
    fault: ({ candidate: { inbound }, wanted: { inboundPerNode } }) =>
      inboundPerNode === undefined || inbound < inboundPerNode ? undefined : `${inbound} migrations go to it already: this one would wait in the queue`,
  },
} as const satisfies Record<string, Row<RoomInput>>;

export const isSource = ({ name }: Pick<Candidate, "name">, { sourceNode }: Pick<Wanted, "sourceNode">): boolean => name === sourceNode?.metadata?.name;
