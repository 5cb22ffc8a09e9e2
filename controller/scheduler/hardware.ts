/**
 * The hardware that a first start resolves and every later start keeps, chosen so that every eligible node can take the
 * machine: a guest can only move to where its processor model and its board exist. Pure.
 */
import { KvmState, NodeReport, NodeSession, NodeSessionState } from "../../gen/drover/v1/node.ts";
import type { FrozenHardware } from "../../gen/drover/v1/virtual_machine.ts";
import { ResolvedHardware } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { nodeFindings } from "../../lib/preflight/node.ts";
import type { InstanceSpec, NodeRecord } from "../objects.ts";

/** Best first: newer generations before older ones, named machines before QEMU's own inventions. */
const MODELS: readonly string[] = [
  "SapphireRapids", "Icelake-Server", "Cascadelake-Server", "Cooperlake", "Skylake-Server", "Skylake-Client", "EPYC-Genoa",
  "EPYC-Milan", "EPYC-Rome", "EPYC", "Broadwell", "Haswell", "IvyBridge", "SandyBridge", "Westmere", "Nehalem", "Opteron_G5",
  "Opteron_G4", "Opteron_G3", "Opteron_G2", "Opteron_G1", "Penryn", "Conroe", "core2duo", "Denverton", "Snowridge",
  "coreduo", "max", "qemu64", "kvm64", "qemu32", "kvm32", "pentium3", "pentium2", "pentium", "486",
];

/** The same hardware on every run of one software emulator. */
const EMULATED_MODEL = "qemu64";

const ALIASES: Record<string, string> = { "": "pc-q35-", q35: "pc-q35-", pc: "pc-i440fx-" };

/** What of the frozen hardware a new run keeps: all that the spec does not name itself. */
export function frozenFor(spec: InstanceSpec, frozen: FrozenHardware | undefined): ResolvedHardware | undefined {
  if (!frozen) return undefined;
  const asked = spec.domain.machine?.type ?? "";
  const family = ALIASES[asked];
  return ResolvedHardware.create({
    cpuModel: spec.domain.cpu?.model || frozen.cpuModel,
    machineType: family === undefined ? asked : frozen.machineType.startsWith(family) ? frozen.machineType : "",
    macAddresses: macsOf(spec, frozen.macAddresses),
  });
}

/** Fills what is still open for a start on `chosen`. */
export function resolveHardware(
  spec: InstanceSpec,
  { chosen, nodes, held }: { chosen: NodeRecord; nodes: readonly NodeRecord[]; held: ResolvedHardware | undefined },
): ResolvedHardware {
  const report = chosen.status.report ?? NodeReport.create();
  const peers = nodes.filter((node) => isEligible(spec, node)).map((node) => node.status.report ?? NodeReport.create());
  return {
    ...(held ?? ResolvedHardware.create()),
    cpuModel: held?.cpuModel || spec.domain.cpu?.model || bestModel(report, peers),
    machineType: held?.machineType || bestMachineType(spec.domain.machine?.type ?? "", report, peers),
    macAddresses: macsOf(spec, held?.macAddresses ?? {}),
  };
}

/** Could take the machine one day, as it is built: whether it is away or cordoned at the moment does not matter. */
function isEligible(instance: InstanceSpec, node: NodeRecord): boolean {
  const { spec, status } = node;
  if (!status.report) return false;
  const session = { ...(status.session ?? NodeSession.create()), state: NodeSessionState.CONNECTED };
  const present = { ...node, spec: { ...spec, unschedulable: false }, status: { ...status, session, report: { ...status.report, hypervisorConnected: true } } };
  return nodeFindings({ instance, node: present, purpose: "start" }).next().done === true;
}

function bestModel(report: NodeReport, peers: readonly NodeReport[]): string {
  if (report.kvm !== KvmState.VERIFIED && report.cpuModels.includes(EMULATED_MODEL)) return EMULATED_MODEL;
  const shared = report.cpuModels.filter((model) => peers.every(({ cpuModels }) => cpuModels.includes(model)));
  return byRank(shared)[0] ?? byRank(report.cpuModels)[0] ?? "";
}

/** Variants such as "Skylake-Server-noTSX-IBRS" rank behind the plain model, in an order that never changes. */
function byRank(models: readonly string[]): string[] {
  const rank = (model: string): number => {
    const family = MODELS.findIndex((known) => model === known || model.startsWith(`${known}-`));
    return family < 0 ? MODELS.length : family;
  };
  return models.toSorted((a, b) => rank(a) - rank(b) || a.length - b.length || (a < b ? -1 : 1));
}

function bestMachineType(asked: string, report: NodeReport, peers: readonly NodeReport[]): string {
  const family = ALIASES[asked];
  if (family === undefined) return report.machineAliases[asked] ?? asked;
  const offered = report.machineTypes.filter((type) => type.startsWith(family)).toSorted(newestFirst);
  const shared = offered.find((type) => peers.every(({ machineTypes }) => machineTypes.includes(type)));
  return shared ?? report.machineAliases[asked === "" ? "q35" : asked] ?? offered[0] ?? "";
}

/** "pc-q35-10.0" is newer than "pc-q35-9.2"; names without such a version come last. */
function newestFirst(a: string, b: string): number {
  const version = (type: string) => (/(\d+)\.(\d+)$/.exec(type) ?? []).slice(1).map(Number);
  const [[majorA = -1, minorA = -1], [majorB = -1, minorB = -1]] = [version(a), version(b)];
  return majorB - majorA || minorB - minorA || (a < b ? 1 : -1);
}

function macsOf(spec: InstanceSpec, frozen: Record<string, string>): Record<string, string> {
  const interfaces = spec.domain.devices?.interfaces ?? [];
  return Object.fromEntries(interfaces.map(({ name, macAddress }) => [name, macAddress || frozen[name] || ""]).filter(([, mac]) => mac !== ""));
}
