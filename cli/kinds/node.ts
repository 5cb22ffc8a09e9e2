/** Nodes, as tables show them. */
import { KvmState, Node, NodeServiceDefinition, NodeSessionState } from "../../gen/drover/v1/node.ts";
import { formatBytes } from "../../lib/quantity.ts";
import { drainLines, drainWord } from "../drain-state.ts";
import { ageColumn, nameColumn, word } from "./kind.ts";
import type { Kind } from "./kind.ts";

/** "Ready", "Ready,SchedulingDisabled,Draining:3/5": what an operator looks for first. */
export function nodeStatus(node: Node): string {
  const { spec, status } = node;
  const connected = status?.session?.state === NodeSessionState.CONNECTED;
  const reported = status?.report?.hypervisorConnected ? "Ready" : "HypervisorUnreachable";
  const working = status?.report ? reported : "NotReportedYet";
  const session = word(NodeSessionState, status?.session?.state) || "NeverConnected";
  return [connected ? working : session, status?.fence && "Fenced", spec?.unschedulable && "SchedulingDisabled", drainWord(node)].filter(Boolean).join(",");
}

export const nodes: Kind<Node> = {
  kind: "Node",
  namespaced: false,
  noun: "Node",
  nounPlural: "Nodes",
  field: "node",
  listField: "nodes",
  definition: NodeServiceDefinition,
  codec: Node,
  told: { fields: ["drain", "drainProgress"], lines: drainLines },
  columns: [
    nameColumn,
    { title: "STATUS", cell: nodeStatus },
    { title: "CPUS", cell: ({ status }) => String(status?.report?.cpus ?? "") },
    { title: "MEMORY", cell: ({ status }) => (status?.report ? formatBytes(status.report.memoryBytes) : "") },
    { title: "KVM", cell: ({ status }) => word(KvmState, status?.report?.kvm) },
    ageColumn,
    { title: "HOSTNAME", wide: true, cell: ({ status }) => status?.report?.hostname ?? "" },
    { title: "LIBVIRT", wide: true, cell: ({ status }) => status?.report?.libvirtVersion ?? "" },
    { title: "QEMU", wide: true, cell: ({ status }) => status?.report?.hypervisorVersion ?? "" },
    { title: "POOLS", wide: true, cell: ({ status }) => status?.report?.pools.map(({ name }) => name).join(",") ?? "" },
    { title: "AGENT", wide: true, cell: ({ status }) => status?.session?.agentVersion ?? "" },
    { title: "MIGRATION-BLOCKER", wide: true, cell: ({ status }) => status?.report?.migrationBlocker ?? "" },
  ],
};
