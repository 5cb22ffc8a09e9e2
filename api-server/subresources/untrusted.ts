/** Text and lists from a host: data, bounded and stripped of what could mislead a terminal or fill the store. Pure. */
import type { NodeReport } from "../../gen/drover/v1/node.ts";

const TEXT_LENGTH_MAX = 1024;
const NAME_LENGTH_MAX = 253;
const POOLS_MAX = 64;
const NAMES_MAX = 512;
const FOREIGN_DOMAINS_MAX = 100;
const ADDRESS_LENGTH_MAX = 64;
const AUTHORITIES_MAX = 8;

/** Control characters, and the ones that turn the direction of writing. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\u2028\u2029]+/gu;

/** Printable text of at most 1,024 characters. */
export function plain(text: string, lengthMax = TEXT_LENGTH_MAX): string {
  const printable = text.replace(UNPRINTABLE, " ");
  return printable.length <= lengthMax ? printable : `${printable.slice(0, lengthMax - 1).replace(/[\uD800-\uDBFF]$/, "")}…`;
}

const names = (list: string[], most = NAMES_MAX): string[] => list.slice(0, most).map((name) => plain(name, NAME_LENGTH_MAX));

/** A node's account of itself, cut to what a record may hold. */
export function boundedNodeReport(report: NodeReport): NodeReport {
  return {
    ...report,
    hostname: plain(report.hostname, NAME_LENGTH_MAX),
    architecture: plain(report.architecture, NAME_LENGTH_MAX),
    libvirtVersion: plain(report.libvirtVersion, NAME_LENGTH_MAX),
    hypervisorVersion: plain(report.hypervisorVersion, NAME_LENGTH_MAX),
    kvmMessage: plain(report.kvmMessage),
    hypervisorMessage: plain(report.hypervisorMessage),
    migrationBlocker: plain(report.migrationBlocker),
    migrationAddress: plain(report.migrationAddress, ADDRESS_LENGTH_MAX),
    migrationAuthorities: names(report.migrationAuthorities, AUTHORITIES_MAX),
    hostCpuModel: plain(report.hostCpuModel, NAME_LENGTH_MAX),
    machineTypes: names(report.machineTypes),
    machineAliases: Object.fromEntries(
      Object.entries(report.machineAliases).slice(0, NAMES_MAX).map(([alias, type]) => [plain(alias, NAME_LENGTH_MAX), plain(type, NAME_LENGTH_MAX)]),
    ),
    cpuModels: names(report.cpuModels),
    bridges: names(report.bridges),
    networks: names(report.networks),
    foreignDomains: names(report.foreignDomains, FOREIGN_DOMAINS_MAX),
    pools: report.pools.slice(0, POOLS_MAX).map((pool) => ({
      ...pool,
      name: plain(pool.name, NAME_LENGTH_MAX),
      id: plain(pool.id, NAME_LENGTH_MAX),
      error: plain(pool.error),
      path: plain(pool.path),
    })),
  };
}
