/**
 * What a node is like, seen from a machine that shall run there, apart from how much room it has: the API server asks before
 * it records a migration to a named node, the scheduler asks of every node. Pure.
 */
import { TaintEffect, TolerationOperator } from "../../gen/drover/v1/machine.ts";
import type { Toleration, VirtualMachineInstanceSpec } from "../../gen/drover/v1/machine.ts";
import { KvmState, NodeSessionState } from "../../gen/drover/v1/node.ts";
import type { Node, NodeReport, Taint } from "../../gen/drover/v1/node.ts";
import { CheckReason } from "../../gen/drover/v1/preflight.ts";
import type { Wanted } from "./candidate.ts";
import { usablePool } from "../disk-transfer.ts";
import { diskFault, diskPools } from "./disks.ts";
import { findingsOf } from "./finding.ts";
import type { Fault, Finding, Row } from "./finding.ts";

export type NodeInput = Pick<Wanted, "instance" | "hardware" | "sourceNode" | "purpose"> & { node: Node };

type Facts = NodeInput & { report: NodeReport };

/** These need no report: they hold of a node that has never been heard of, too. */
export const PRESENCE = {
  "node is being deleted": {
    name: "record",
    reason: CheckReason.NODE_DELETING,
    fault: ({ node }) => (node.metadata?.deletionTimestamp ? "it is being deleted" : undefined),
  },
  "node is not connected": {
    name: "agent",
    reason: CheckReason.NODE_NOT_CONNECTED,
    fault: ({ node }) => (isConnected(node) && node.status?.report ? undefined : "its agent is not connected"),
  },
  "node is cordoned": {
    name: "cordon",
    reason: CheckReason.NODE_CORDONED,
    fault: ({ node }) => (node.spec?.unschedulable ? "it is cordoned" : undefined),
  },
} as const satisfies Record<string, Row<NodeInput>>;

export const REPORTED = {
  "hypervisor is not reachable": {
    name: "libvirt",
    reason: CheckReason.HYPERVISOR_UNREACHABLE,
    fault: ({ report }) =>
      report.hypervisorConnected ? undefined : `libvirt cannot be reached: ${report.hypervisorMessage || "no reason was given"}`,
  },
  "node has a taint that is not tolerated": {
    name: "taints",
    reason: CheckReason.TAINT_NOT_TOLERATED,
    fault: ({ node, instance }) => {
      const taint = node.spec?.taints.find((taint) => repels(taint, instance.tolerations));
      return taint && `the taint ${taint.key}=${taint.value} is not tolerated`;
    },
  },
  "node lacks a required label": {
    name: "node-selector",
    reason: CheckReason.LABEL_MISSING,
    fault: ({ node, instance }) => labelFault("node lacks a required label", node, instance.nodeSelector),
  },
  "no usable accelerator": {
    name: "accelerator",
    reason: CheckReason.NO_ACCELERATOR,
    fault: ({ node, report }) =>
      usesKvm(report) || node.spec?.allowEmulation || report.allowEmulation
        ? undefined
        : `KVM is not verified and emulation is not allowed: ${report.kvmMessage || "the check has not run"}`,
  },
  "accelerator differs from the source's": {
    name: "same-accelerator",
    reason: CheckReason.ACCELERATOR_DIFFERS,
    fault: ({ report, sourceNode, purpose }) =>
      purpose === "migrate" && sourceNode?.status?.report && usesKvm(sourceNode.status.report) !== usesKvm(report)
        ? `it runs guests by ${accelerator(report)} and the source by ${accelerator(sourceNode.status.report)}`
        : undefined,
  },
  "node lacks a pool": {
    name: "pools",
    reason: CheckReason.POOL_MISSING,
    fault: ({ report, instance }) =>
      missing(poolNames(instance), (name) => usablePool(report, name) !== undefined, (names) =>
        names.map((name) => describePool(report, name)).join("; ")),
  },
  "pool is not shared with the source": {
    name: "disks",
    reason: CheckReason.DISK_NOT_SHARED,
    fault: ({ report, instance, sourceNode, purpose }) =>
      purpose === "migrate" ? diskFault({ instance, source: sourceNode?.status?.report, target: report }) : undefined,
  },
  "node lacks a bridge": {
    name: "bridges",
    reason: CheckReason.BRIDGE_MISSING,
    fault: ({ report, instance }) =>
      missing(bridges(instance), (name) => report.bridges.includes(name), (names) => `it lacks the bridges ${names.join(", ")}`),
  },
  "node lacks a libvirt network": {
    name: "networks",
    reason: CheckReason.NETWORK_MISSING,
    fault: ({ report, instance }) =>
      missing(libvirtNetworks(instance), (name) => report.networks.includes(name), (names) =>
        `it lacks the active libvirt networks ${names.join(", ")}`),
  },
  "node lacks the machine type": {
    name: "machine-type",
    reason: CheckReason.MACHINE_TYPE_MISSING,
    fault: (facts) => machineTypeFault(facts),
  },
  "node lacks the CPU model": {
    name: "cpu-model",
    reason: CheckReason.CPU_MODEL_MISSING,
    fault: (facts) => cpuModelFault(facts),
  },
  "node cannot receive migrations": {
    name: "migration-setup",
    reason: CheckReason.MIGRATION_NOT_CONFIGURED,
    fault: ({ report, purpose }) => (purpose === "migrate" && report.migrationBlocker ? report.migrationBlocker : undefined),
  },
} as const satisfies Record<string, Row<Facts>>;

/** Everything that keeps the machine off the node, room apart; nothing when nothing does. */
export function* nodeFindings(input: NodeInput): Generator<Finding> {
  yield* findingsOf<NodeInput>(PRESENCE, input);
  const report = input.node.status?.report;
  // The report of a node that is away is old news: it would only add faults that may be gone.
  if (report && isConnected(input.node)) yield* findingsOf<Facts>(REPORTED, { ...input, report });
}

const isConnected = ({ status }: Node): boolean => status?.session?.state === NodeSessionState.CONNECTED;

/** Counted by the first label that a node lacks, told with all of them. */
export function labelFault(why: string, { metadata }: Node, wanted: Record<string, string> = {}): Fault {
  const pairs = Object.keys(wanted).filter((label) => metadata?.labels[label] !== wanted[label]).toSorted().map((label) => `${label}=${wanted[label]}`);
  return pairs.length === 0 ? undefined : { why: `${why} (${pairs[0]})`, message: `it lacks the labels ${pairs.join(", ")}` };
}

function missing<T>(wanted: T[], present: (item: T) => boolean, say: (absent: T[]) => string): string | undefined {
  const absent = wanted.filter((item) => !present(item));
  return absent.length > 0 ? say(absent) : undefined;
}

/** Whether the taint keeps away a machine with these tolerations. PreferNoSchedule only weighs, it never forbids. */
export function repels(taint: Taint, tolerations: readonly Toleration[]): boolean {
  return taint.effect === TaintEffect.NO_SCHEDULE && !tolerations.some((toleration) => tolerates(toleration, taint));
}

export function tolerates({ key, operator, value, effect }: Toleration, taint: Taint): boolean {
  if (effect !== TaintEffect.UNSPECIFIED && effect !== taint.effect) return false;
  if (operator === TolerationOperator.EXISTS) return key === "" || key === taint.key;
  return key === taint.key && value === taint.value;
}

const unique = (names: string[]): string[] => [...new Set(names)];

function poolNames(instance: VirtualMachineInstanceSpec): string[] {
  const kernel = instance.domain?.firmware?.kernelBoot;
  return unique([...diskPools(instance), ...(kernel ? [kernel.pool] : [])]);
}

const bridges = (instance: VirtualMachineInstanceSpec): string[] =>
  unique(instance.networks.flatMap(({ source }) => (source?.$case === "bridge" ? [source.value.bridgeName] : [])));

const libvirtNetworks = (instance: VirtualMachineInstanceSpec): string[] =>
  unique(instance.networks.flatMap(({ source }) => (source?.$case === "libvirt" ? [source.value.networkName] : [])));

function describePool(report: NodeReport, name: string): string {
  const pool = report.pools.find((pool) => pool.name === name);
  return pool ? `its pool "${name}" cannot be used: ${pool.error || "it has no id"}` : `it has no pool "${name}"`;
}

const usesKvm = (report: NodeReport): boolean => report.kvm === KvmState.VERIFIED;
const accelerator = (report: NodeReport): string => (usesKvm(report) ? "KVM" : "emulation");

function machineTypeFault({ instance, hardware, report }: Facts): string | undefined {
  const frozen = hardware?.machineType;
  if (frozen) return report.machineTypes.includes(frozen) ? undefined : `it lacks the machine type ${frozen}`;
  const asked = instance.domain?.machine?.type || "q35";
  const resolved = report.machineAliases[asked] ?? asked;
  return report.machineTypes.includes(resolved) ? undefined : `it lacks the machine type ${asked}`;
}

function cpuModelFault({ instance, hardware, report, sourceNode, purpose }: Facts): string | undefined {
  const model = hardware?.cpuModel || instance.domain?.cpu?.model || "";
  switch (model) {
    case "":
      return report.cpuModels.length > 0 ? undefined : "it reports no usable CPU model";
    case "host-passthrough":
      return report.hostPassthrough ? undefined : "it does not offer host-passthrough";
    case "maximum":
      return report.maximum ? undefined : "it does not offer the maximum CPU";
    case "host-model":
      if (report.hostCpuModel === "") return "it has no host model";
      return purpose === "migrate" && sourceNode?.status?.report?.hostCpuModel !== report.hostCpuModel
        ? `its host model ${report.hostCpuModel} is not the source's`
        : undefined;
    default:
      return report.cpuModels.includes(model) ? undefined : `it lacks the CPU model ${model}`;
  }
}
