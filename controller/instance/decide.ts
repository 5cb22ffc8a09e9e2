/** One instance: where it is placed, what its node's silence means for it, when nothing of it is left. Pure. */
import { EventType } from "../../gen/drover/v1/event.ts";
import { ConditionStatus } from "../../gen/drover/v1/meta.ts";
import { CheckReason } from "../../gen/drover/v1/preflight.ts";
import { Phase, ReleaseReason } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstanceStatus } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { demandOf, isGone } from "../../lib/capacity.ts";
import type { Snapshot } from "../../lib/preflight/candidate.ts";
import { choose, explain } from "../../lib/preflight/choose.ts";
import type { Finding } from "../../lib/preflight/finding.ts";
import { blockersOf } from "../../lib/preflight/machine.ts";
import { NOTHING } from "../actions.ts";
import type { Action, Decision, Notice } from "../actions.ts";
import { conditionOf, fails, holds, withFacts } from "../conditions.ts";
import type { Fact } from "../conditions.ts";
import { isKnown } from "../known.ts";
import type { Instance, Machine, NodeRecord, VolumeRecord } from "../objects.ts";
import { resolveHardware } from "../scheduler/hardware.ts";
import { isFinal } from "../virtual-machine/run-end.ts";
import { copiedVolumes, foreignVolume, heldBy, holderOf, isThere, volumesFor, writableDisks } from "./volumes.ts";
import { sameMessage } from "../../lib/same.ts";

/** A look at the fleet now and then, for what no change announces. */
const UNPLACED_RECHECK_MS = 15_000;
/** Others taking the node's last memory announce nothing about the one that is left over. */
const UNTAKEN_RECHECK_MS = 5_000;

export type Observed = {
  instance: Instance;
  /** The machine that it belongs to; absent for an instance of its own. */
  machine?: Machine | undefined;
  node?: NodeRecord | undefined;
  silent: boolean;
  fenced: boolean;
  /** Others have taken the memory of the node that it is bound to, so that its own claim is refused. */
  crowdedOut: boolean;
  snapshot: () => Snapshot<NodeRecord>;
  volume: (name: string) => VolumeRecord | undefined;
  volumesOfImage: (pool: string, image: string) => readonly VolumeRecord[];
  now: Date;
};

export function decide(observed: Observed): Decision {
  const { instance, silent, fenced, node } = observed;
  const { metadata, status } = instance;
  if (!isKnown(Phase, status.phase)) return NOTHING;
  if (metadata.deletionTimestamp) return { actions: status.migration ? [] : release(observed) };
  if (isFinal(instance)) return NOTHING;
  if (status.nodeName === "") return place(observed);
  if (!status.claim && (silent || observed.crowdedOut)) return { actions: [{ do: "put-instance", instance: unbound(observed) }] };
  const fence = node?.status.fence;
  if (fenced && fence && !status.migration) {
    return { actions: [{ do: "delete-instance", instance, graceSeconds: 0, fence: { node: status.nodeName, id: fence.id } }] };
  }
  return { actions: reachability(observed), ...(!status.claim && { recheckMs: UNTAKEN_RECHECK_MS }) };
}

/** Only on evidence, and only after the machine's record has the run's end and its epochs. */
function release(observed: Observed): Action[] {
  const { instance } = observed;
  const reason = releaseReason(observed);
  return reason !== undefined && isRecorded(observed) ? [{ do: "release-instance", instance, reason }] : [];
}

function releaseReason({ instance, fenced }: Observed): ReleaseReason | undefined {
  if (!instance.status.claim) return ReleaseReason.UNCLAIMED;
  if (isGone(instance)) return ReleaseReason.GONE;
  return fenced ? ReleaseReason.FENCED : undefined;
}

function isRecorded({ instance, machine }: Observed): boolean {
  if (!machine) return true;
  const { lastRun, lastEpoch } = machine.status;
  return lastRun?.uid === instance.metadata.uid && lastEpoch >= instance.status.lastGrantedEpoch;
}

/** Nobody has claimed it, so it may be bound again elsewhere, under a higher epoch. A claim under way loses the race. */
function unbound({ instance, silent, now }: Observed): Instance {
  const { status } = instance;
  const fact = silent
    ? fails("Scheduled", "NodeSilent", `node ${status.nodeName} fell silent before it took the machine`)
    : fails("Scheduled", "NodeFull", `node ${status.nodeName} has no memory left for the machine`);
  const conditions = withFacts(status.conditions, [fact], now);
  return { ...instance, status: { ...status, nodeName: "", phase: Phase.SCHEDULING, heldVolumes: [], conditions } };
}

function reachability({ instance, silent, now }: Observed): Action[] {
  const { conditions, nodeName } = instance.status;
  const known = conditionOf(conditions, "NodeReachable");
  if (!silent && (!known || known.status === ConditionStatus.TRUE)) return [];
  const message = `node ${nodeName} does not answer; the machine may run on, and is not restarted elsewhere before the node is confirmed fenced`;
  const fact = silent ? fails("NodeReachable", "NodeSilent", message) : holds("NodeReachable", "Connected");
  return putFacts(instance, [fact], now);
}

function place(observed: Observed): Decision {
  const { instance, now } = observed;
  const { spec, status } = instance;
  const wanted = { instance: spec, hardware: status.hardware, demand: demandOf(spec), purpose: "start" as const, disks: disksOf(observed) };
  const snapshot = observed.snapshot();
  const { chosen, reasons } = choose(snapshot, wanted);
  if (!chosen) return waiting(instance, fails("Scheduled", "Unschedulable", explain(reasons)), now, "FailedScheduling");
  const foreign = foreignVolume(instance, chosen.node, observed.volume);
  if (foreign) return waiting(instance, fails("VolumesHeld", "VolumeOfAnotherNamespace", elsewhere(foreign)), now, "VolumeOfAnotherNamespace");
  const volumes = volumesFor(instance, chosen.node, observed.volume);
  const taken = volumes.find((volume) => holderOf(volume, instance) === "other");
  if (taken) return waiting(instance, fails("VolumesHeld", "VolumeInUse", inUse(taken)), now, "VolumeInUse");
  const missing = volumes.find((volume) => !isThere(volume));
  if (missing) return waiting(instance, fails("VolumesHeld", "VolumeVacated", vacated(missing)), now, "VolumeVacated");
  const nodes = snapshot.map(({ node }) => node);
  return { actions: bind(observed, { chosen: chosen.node, nodes, volumes }) };
}

/** A run as it is created: bound already where no volume is to be held before, which needs the run's uid. */
export function atBirth(observed: Observed): { instance: Instance; told: Notice | undefined } {
  const { instance } = observed;
  const actions = writableDisks(instance.spec).length > 0 ? [] : place(observed).actions;
  const put = actions.find((action) => action.do === "put-instance");
  const told = actions.find((action) => action.do === "notify");
  return put && put.instance.status.nodeName !== "" ? { instance: put.instance, told: told?.notice } : { instance, told: undefined };
}

function disksOf({ instance, volumesOfImage }: Observed) {
  return writableDisks(instance.spec)
    .map(({ pool, image }) => ({ pool, poolIds: volumesOfImage(pool, image).filter(isThere).map(({ spec }) => spec.poolId) }))
    .filter(({ poolIds }) => poolIds.length > 0);
}

/** Not whose it is: that namespace may be none of the reader's business. */
const elsewhere = ({ spec }: VolumeRecord): string => `the image ${spec.image} in pool ${spec.pool || spec.poolId} belongs to another namespace`;

const vacated = ({ spec }: VolumeRecord): string =>
  `the image ${spec.image} in pool ${spec.pool || spec.poolId} was moved away, and what is left of it there has not been removed yet`;

const inUse = ({ spec, status }: VolumeRecord): string =>
  `the image ${spec.image} in pool ${spec.pool || spec.poolId} is held by ${status.holder?.namespace ?? ""}/${status.holder?.name ?? ""}`;

function waiting(instance: Instance, fact: Fact, now: Date, reason: string): Decision {
  const actions = putFacts({ ...instance, status: { ...instance.status, phase: Phase.SCHEDULING } }, [fact], now, instance.status);
  const told = actions.length > 0 ? [notice(instance, { reason, message: fact.message, type: EventType.WARNING })] : [];
  return { actions: [...actions, ...told], recheckMs: UNPLACED_RECHECK_MS };
}

type Target = { chosen: NodeRecord; nodes: readonly NodeRecord[]; volumes: readonly VolumeRecord[] };

/** First every volume, then the one write that names the node: a claim needs both. */
function bind(observed: Observed, { chosen, nodes, volumes }: Target): Action[] {
  const { instance, machine, now } = observed;
  const { status, spec } = instance;
  const epoch = Math.max(status.lastGrantedEpoch, machine?.status.lastEpoch ?? 0) + 1;
  const hardware = resolveHardware(spec, { chosen, nodes, held: status.hardware });
  const blockers = blockersOf({ spec, cpuModel: hardware.cpuModel });
  const facts = [
    holds("Scheduled", "Bound", `bound to node ${chosen.metadata.name}`),
    holds("VolumesHeld", volumes.length > 0 ? "Held" : "NoneNeeded"),
    liveMigratable(blockers, copiedVolumes(spec, { chosen, nodes })),
  ];
  const bound: VirtualMachineInstanceStatus = {
    ...status,
    phase: Phase.SCHEDULED,
    nodeName: chosen.metadata.name,
    epoch,
    lastGrantedEpoch: epoch,
    heldVolumes: volumes.map((volume) => volume.metadata.name),
    hardware,
    conditions: withFacts(status.conditions, facts, now),
  };
  const free = volumes.filter((volume) => holderOf(volume, instance) === "nobody");
  return [
    ...free.map((volume) => ({ do: "hold-volume" as const, volume: heldBy(volume, instance, epoch) })),
    { do: "put-instance", instance: { ...instance, status: bound } },
    notice(instance, { reason: "Scheduled", message: `bound to node ${chosen.metadata.name}`, type: EventType.NORMAL }),
  ];
}

/** The condition has KubeVirt's words, and tells all that stands in the way. */
function liveMigratable(blockers: readonly Finding[], copied: readonly string[]): Fact {
  const [first] = blockers;
  if (!first) return copied.length === 0 ? holds("LiveMigratable", "Migratable") : holds("LiveMigratable", "DisksAreCopied", `its disks ${copied.join(", ")} are copied to the target`);
  const word = first.reason === CheckReason.HOST_CPU ? "CPUModelNotLiveMigratable" : "DisksNotLiveMigratable";
  return fails("LiveMigratable", word, blockers.map(({ message }) => message).join("; "));
}

function putFacts(instance: Instance, facts: readonly Fact[], now: Date, before = instance.status): Action[] {
  const status = { ...instance.status, conditions: withFacts(instance.status.conditions, facts, now) };
  return sameMessage(status, before) ? [] : [{ do: "put-instance", instance: { ...instance, status } }];
}

const notice = (instance: Instance, said: Pick<Notice, "reason" | "message" | "type">): Action => ({
  do: "notify",
  notice: { kind: "VirtualMachineInstance", about: instance, ...said },
});
