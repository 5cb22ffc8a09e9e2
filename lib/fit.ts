/**
 * Whether a node can take a machine, apart from how much room it has: the API server asks before it records a
 * migration to a named node, the scheduler asks of every node. Pure; one named check for each thing an operator reads.
 */
import { TaintEffect, TolerationOperator } from "../gen/drover/v1/machine.ts";
import type { Toleration, VirtualMachineInstanceSpec } from "../gen/drover/v1/machine.ts";
import { KvmState, NodeSessionState } from "../gen/drover/v1/node.ts";
import type { Node, NodePool, NodeReport, Taint } from "../gen/drover/v1/node.ts";
import type { ResolvedHardware } from "../gen/drover/v1/virtual_machine_instance.ts";

export type FitInput = {
  instance: VirtualMachineInstanceSpec;
  /** What a former start resolved; binding for every later one. */
  hardware?: ResolvedHardware | undefined;
  node: Node;
  /** The node that a migration leaves. */
  sourceNode?: Node | undefined;
  purpose: "start" | "migrate";
};

/** `reason` is the same text for every node with that fault, so that nodes can be counted by it; `message` has the names. */
export type FitFault = { reason: FitReason; message: string };

type Facts = FitInput & { report: NodeReport };
/** Answers what is wrong, or undefined. */
type Check = (facts: Facts) => string | undefined;

/** Checks that need no report: they hold of a node that has never been heard of, too. */
const presence = {
  "node is being deleted": ({ node }: FitInput) =>
    node.metadata?.deletionTimestamp ? "it is being deleted" : undefined,
  "node is not connected": ({ node }: FitInput) =>
    node.status?.session?.state === NodeSessionState.CONNECTED && node.status.report ? undefined : "its agent is not connected",
  "node is cordoned": ({ node }: FitInput) => (node.spec?.unschedulable ? "it is cordoned" : undefined),
} as const satisfies Record<string, (input: FitInput) => string | undefined>;

/** In the order in which an operator would look. */
const checks = {
  "hypervisor is not reachable": ({ report }) =>
    report.hypervisorConnected ? undefined : `libvirt cannot be reached: ${report.hypervisorMessage || "no reason was given"}`,
  "node has a taint that is not tolerated": ({ node, instance }) => {
    const taint = node.spec?.taints.find((taint) => repels(taint, instance.tolerations));
    return taint && `the taint ${taint.key}=${taint.value} is not tolerated`;
  },
  "node lacks a required label": ({ node, instance }) =>
    missing(Object.entries(instance.nodeSelector), ([key, value]) => node.metadata?.labels[key] === value, (pairs) =>
      `it lacks the labels ${pairs.map(([key, value]) => `${key}=${value}`).join(", ")}`),
  "no usable accelerator": ({ node, report }) =>
    report.kvm === KvmState.VERIFIED || node.spec?.allowEmulation || report.allowEmulation
      ? undefined
      : `KVM is not verified and emulation is not allowed: ${report.kvmMessage || "the check has not run"}`,
  "accelerator differs from the source's": ({ report, sourceNode, purpose }) =>
    purpose === "migrate" && sourceNode?.status?.report && usesKvm(sourceNode.status.report) !== usesKvm(report)
      ? `it runs guests by ${accelerator(report)} and the source by ${accelerator(sourceNode.status.report)}`
      : undefined,
  "node lacks a pool": ({ report, instance }) =>
    missing(poolNames(instance), (name) => usable(report, name) !== undefined, (names) =>
      names.map((name) => describePool(report, name)).join("; ")),
  "pool is not shared with the source": ({ report, instance, sourceNode, purpose }) =>
    purpose === "migrate" ? unshared(instance, report, sourceNode) : undefined,
  "node lacks a bridge": ({ report, instance }) =>
    missing(bridges(instance), (name) => report.bridges.includes(name), (names) => `it lacks the bridges ${names.join(", ")}`),
  "node lacks a libvirt network": ({ report, instance }) =>
    missing(libvirtNetworks(instance), (name) => report.networks.includes(name), (names) =>
      `it lacks the active libvirt networks ${names.join(", ")}`),
  "node lacks the machine type": (facts) => machineTypeFault(facts),
  "node lacks the CPU model": (facts) => cpuModelFault(facts),
  "node cannot receive migrations": ({ report, purpose }) =>
    purpose === "migrate" && report.migrationBlocker ? report.migrationBlocker : undefined,
} as const satisfies Record<string, Check>;

export type FitReason = keyof typeof presence | keyof typeof checks;

/** Everything that keeps the machine off the node, room apart; empty when nothing does. */
export function fitFaults(input: FitInput): FitFault[] {
  const faults = faultsOf(presence, input);
  const report = input.node.status?.report;
  // The report of a node that is away is old news: it would only add faults that may be gone.
  if (!report || faults.some(({ reason }) => reason === "node is not connected")) return faults;
  return [...faults, ...faultsOf(checks, { ...input, report })];
}

function faultsOf<I>(table: Partial<Record<FitReason, (input: I) => string | undefined>>, input: I): FitFault[] {
  return (Object.keys(table) as FitReason[]).flatMap((reason) => {
    const message = table[reason]?.(input);
    return message === undefined ? [] : [{ reason, message }];
  });
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

export const diskPools = (instance: VirtualMachineInstanceSpec): string[] =>
  unique(instance.volumes.flatMap(({ source }) => (source?.$case === "disk" ? [source.value.pool] : [])));

function poolNames(instance: VirtualMachineInstanceSpec): string[] {
  const kernel = instance.domain?.firmware?.kernelBoot;
  return unique([...diskPools(instance), ...(kernel ? [kernel.pool] : [])]);
}

const bridges = (instance: VirtualMachineInstanceSpec): string[] =>
  unique(instance.networks.flatMap(({ source }) => (source?.$case === "bridge" ? [source.value.bridgeName] : [])));

const libvirtNetworks = (instance: VirtualMachineInstanceSpec): string[] =>
  unique(instance.networks.flatMap(({ source }) => (source?.$case === "libvirt" ? [source.value.networkName] : [])));

const usable = (report: NodeReport, name: string): NodePool | undefined =>
  report.pools.find((pool) => pool.name === name && pool.error === "" && pool.id !== "");

function describePool(report: NodeReport, name: string): string {
  const pool = report.pools.find((pool) => pool.name === name);
  return pool ? `its pool "${name}" cannot be used: ${pool.error || "it has no id"}` : `it has no pool "${name}"`;
}

/** The disks' bytes are not moved, so both nodes must see the same pool. Files for a direct kernel boot may be copies. */
function unshared(instance: VirtualMachineInstanceSpec, report: NodeReport, sourceNode: Node | undefined): string | undefined {
  const apart = diskPools(instance).filter((name) => {
    const here = usable(report, name);
    return here !== undefined && sourceNode?.status?.report?.pools.find((pool) => pool.name === name)?.id !== here.id;
  });
  return apart.length > 0 ? `its pools ${apart.join(", ")} are not those of the source` : undefined;
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
