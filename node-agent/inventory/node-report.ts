/** A node's account of itself, from everything that was seen (pure), and whether it is worth telling again. */
import { NodeReport } from "../../gen/drover/v1/node.ts";
import type { NodePool } from "../../gen/drover/v1/node.ts";
import type { HostInventory } from "../libvirt/hypervisor.ts";
import type { KvmCheck } from "./canary.ts";

export type Seen = {
  /** As libvirt last told; kept while it cannot be asked, and absent before it ever could. */
  host: HostInventory | undefined;
  /** Why libvirt cannot be asked now. */
  hypervisorFault: string | undefined;
  /** What the kernel calls the host. */
  hostname: string;
  kvm: KvmCheck;
  pools: readonly NodePool[];
  bridges: readonly string[];
  foreignDomains: readonly string[];
};

export type NodeSettings = {
  reservedMemoryBytes: number;
  allowEmulation: boolean;
  /** Why the node can receive no migration, by its configuration; empty when it can. */
  migrationBlocker: string;
  /** Where it receives them; empty when nowhere. */
  migrationAddress: string;
  /** By whom QEMU knows other hosts, its own certificate's signer first. */
  migrationAuthorities: string[];
};

const FOREIGN_DOMAINS_MAX = 100;
const MESSAGE_LENGTH_MAX = 1024;

/** Without a generation, which is for whoever sends it. Lists are sorted, so that equal hosts give equal reports. */
export function nodeReport({ host, ...seen }: Seen, settings: NodeSettings): NodeReport {
  const { kvm, hypervisorFault } = seen;
  return NodeReport.create({
    ...settings,
    ...(host && ofHost(host)),
    hostname: seen.hostname,
    kvm: kvm.state,
    kvmMessage: kvm.message.slice(0, MESSAGE_LENGTH_MAX),
    pools: [...seen.pools].sort((a, b) => compare(a.name, b.name)),
    bridges: [...seen.bridges].sort(),
    foreignDomains: [...seen.foreignDomains].sort().slice(0, FOREIGN_DOMAINS_MAX),
    hypervisorConnected: hypervisorFault === undefined && host !== undefined,
    hypervisorMessage: (hypervisorFault ?? "").slice(0, MESSAGE_LENGTH_MAX),
  });
}

function ofHost({ cpuModels, ...host }: HostInventory): Partial<NodeReport> {
  return {
    architecture: host.architecture,
    cpus: host.cpus,
    memoryBytes: host.memoryBytes,
    libvirtVersion: host.libvirtVersion,
    hypervisorVersion: host.hypervisorVersion,
    machineTypes: [...host.machineTypes].sort(),
    machineAliases: host.machineAliases,
    cpuModels: [...cpuModels.usable].sort(),
    hostCpuModel: cpuModels.hostModel ?? "",
    hostPassthrough: cpuModels.hostPassthrough,
    maximum: cpuModels.maximum,
    networks: [...host.networks].sort(),
  };
}

const FREE_SPACE_CHANGE = 0.05;
const FREE_SPACE_EVERY_MS = 60_000;

/**
 * Free space moves all the time: it counts only when it changed by a twentieth of the pool, and not within a minute of
 * the last report. Everything else counts at once.
 */
export function reportChanged(before: NodeReport | undefined, after: NodeReport, sinceReportMs: number): boolean {
  if (before === undefined) return true;
  if (facts(before) !== facts(after)) return true;
  return sinceReportMs >= FREE_SPACE_EVERY_MS && after.pools.some((pool) => freeSpaceMoved(before, pool));
}

function freeSpaceMoved(before: NodeReport, { name, capacityBytes, availableBytes }: NodePool): boolean {
  const last = before.pools.find((pool) => pool.name === name);
  return last === undefined || Math.abs(last.availableBytes - availableBytes) >= FREE_SPACE_CHANGE * capacityBytes;
}

/** A report without what always moves, in one form: the aliases come in whatever order libvirt lists them. */
function facts(report: NodeReport): string {
  const aliases = Object.entries(report.machineAliases).sort(([a], [b]) => compare(a, b));
  const pools = report.pools.map((pool) => ({ ...pool, availableBytes: 0 }));
  return JSON.stringify({ ...report, generation: 0, machineAliases: aliases, pools });
}

/** Not by the language of the host: the same order everywhere. */
function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
