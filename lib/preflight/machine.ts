/** Whether a machine can be asked to move at all, wherever it goes. Pure. */
import { DiskCache } from "../../gen/drover/v1/machine.ts";
import { ConditionStatus } from "../../gen/drover/v1/meta.ts";
import type { Condition } from "../../gen/drover/v1/meta.ts";
import { NodeSessionState } from "../../gen/drover/v1/node.ts";
import type { Node } from "../../gen/drover/v1/node.ts";
import { CheckReason, CheckVerdict } from "../../gen/drover/v1/preflight.ts";
import type { Check } from "../../gen/drover/v1/preflight.ts";
import type { VirtualMachineInstanceSpec } from "../../gen/drover/v1/machine.ts";
import { Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { checksOf, findingsOf } from "./finding.ts";
import type { Finding, Row } from "./finding.ts";
import type { Answer } from "./measured.ts";

export type MachineInput = {
  instance: VirtualMachineInstance;
  /** The machine that it is a run of is being deleted. */
  isDeleting: boolean;
  /** Names of its migrations that have not ended. */
  open: readonly string[];
  sourceNode: Node | undefined;
  /** Open migrations away from its node, and how many there may be. */
  outbound?: { open: number; slots: number } | undefined;
  /** Of the running domain, as its agent answered; absent where nobody was asked. */
  hostDevices?: Answer<readonly string[]> | undefined;
};

/** `cpuModel` as resolved for the run. */
type Built = { spec: VirtualMachineInstanceSpec; cpuModel: string };

const HOST_CPUS: readonly string[] = ["host-passthrough", "maximum"];
const CACHED: readonly DiskCache[] = [DiskCache.WRITETHROUGH, DiskCache.WRITEBACK];

/** What of it exists on its node only. */
export const BLOCKERS = {
  "a disk goes through the page cache": {
    name: "disk-cache",
    reason: CheckReason.DISK_CACHE,
    fault: ({ spec }) => {
      const inPool = (name: string) => spec.volumes.some((volume) => volume.name === name && volume.source?.$case === "disk");
      const cached = spec.domain?.devices?.disks.find(({ name, cache }) => CACHED.includes(cache) && inPool(name));
      return cached && `the disk "${cached.name}" goes through the node's page cache`;
    },
  },
  "the machine has its node's own CPU": {
    name: "cpu-mode",
    reason: CheckReason.HOST_CPU,
    fault: ({ cpuModel }) => (HOST_CPUS.includes(cpuModel) ? `the CPU model "${cpuModel}" is that of one node` : undefined),
  },
} as const satisfies Record<string, Row<Built>>;

export const blockersOf = (built: Built): Finding[] => [...findingsOf<Built>(BLOCKERS, built)];

export const MACHINE = {
  "the machine does not run": {
    name: "running",
    reason: CheckReason.NOT_RUNNING,
    fault: ({ instance }) => (instance.status?.phase === Phase.RUNNING ? undefined : "The machine does not run"),
  },
  "the machine is paused": {
    name: "not-paused",
    reason: CheckReason.PAUSED,
    fault: ({ instance }) => {
      const paused = conditionOf(instance, "Paused");
      return paused?.status === ConditionStatus.TRUE ? `The machine is paused: ${paused.message}` : undefined;
    },
  },
  "the machine is ending": {
    name: "not-ending",
    reason: CheckReason.DELETING,
    fault: ({ instance, isDeleting }) => (instance.metadata?.deletionTimestamp || isDeleting ? "The machine is being stopped or deleted" : undefined),
  },
  "the machine is moving": {
    name: "not-moving",
    reason: CheckReason.ALREADY_MIGRATING,
    fault: ({ instance, open }) => {
      const moving = instance.status?.migration?.name ?? open[0];
      return moving === undefined ? undefined : `The migration "${moving}" has not ended`;
    },
  },
  "the machine cannot move live": {
    name: "live-migratable",
    reason: CheckReason.NOT_MIGRATABLE,
    fault: ({ instance }) => {
      const migratable = conditionOf(instance, "LiveMigratable");
      return migratable?.status === ConditionStatus.FALSE ? `The machine cannot move live: ${migratable.message || migratable.reason}` : undefined;
    },
  },
  "the source is not connected": {
    name: "source-agent",
    reason: CheckReason.SOURCE_NOT_CONNECTED,
    fault: ({ instance, sourceNode }) =>
      sourceNode?.status?.session?.state !== NodeSessionState.CONNECTED && instance.status?.nodeName
        ? `The agent of "${instance.status.nodeName}" is not connected`
        : undefined,
  },
  "the machine has a device of its host": {
    name: "host-devices",
    reason: CheckReason.HOST_DEVICE,
    fault: ({ hostDevices }) =>
      hostDevices && "known" in hostDevices && hostDevices.known.length > 0
        ? `The running domain has devices of its host: ${hostDevices.known.join(", ")}`
        : undefined,
  },
  "the running domain was not looked at": {
    name: "host-devices",
    reason: CheckReason.NOT_KNOWN,
    fault: ({ hostDevices }) =>
      hostDevices && "unknown" in hostDevices ? { verdict: CheckVerdict.WARN, message: `not known: ${hostDevices.unknown}` } : undefined,
  },
  "too many outgoing migrations": {
    name: "outbound-slots",
    reason: CheckReason.OUTBOUND_SLOTS,
    fault: ({ outbound }) =>
      outbound && outbound.open >= outbound.slots
        ? { verdict: CheckVerdict.WARN, message: `${outbound.open} migrations leave its node already: this one would wait in the queue` }
        : undefined,
  },
} as const satisfies Record<string, Row<MachineInput>>;

/** Every check by name, with what ties the machine to its node one by one. */
export function machineChecks(input: MachineInput): Check[] {
  const { spec, status } = input.instance;
  const blockers = spec ? blockersOf({ spec, cpuModel: status?.hardware?.cpuModel ?? "" }) : [];
  return checksOf([MACHINE, BLOCKERS], [...machineFindings(input), ...blockers]);
}

export const machineFindings = (input: MachineInput): Finding[] => [...findingsOf<MachineInput>(MACHINE, input)];

const conditionOf = ({ status }: VirtualMachineInstance, type: string): Condition | undefined =>
  status?.conditions.find((condition) => condition.type === type);
