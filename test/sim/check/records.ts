/** What no commit may do: epochs only grow, one request acts once, an older word never stands over a newer one. */
import { MigrationPhase } from "../../../gen/drover/v1/migration.ts";
import type { VirtualMachineInstance } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import type { DurableStore } from "../store/durable.ts";
import type { World } from "../world/world.ts";
import type { Mirror } from "./mirror.ts";
import { vmUidOf, wordOf } from "./mirror.ts";

export function checkRecords(world: World, durable: DurableStore, mirror: Mirror): void {
  const requests = new Map<string, string>();
  durable.onCommit(({ write: { journal, key }, stored }) => {
    world.note(`commit ${key} ${stored.revision}`);
    if (!journal) return;
    const before = requests.get(journal.requestId);
    if (before !== undefined) world.fail("I7", `request ${journal.requestId} acted at ${before} and again at ${stored.revision} on ${key}`);
    requests.set(journal.requestId, stored.revision);
  });
  epochs(world, mirror);
  merged(world, mirror);
  words(world, mirror);
  endings(world, mirror);
}

function epochs(world: World, mirror: Mirror): void {
  const granted = new Map<string, number>();
  mirror.instances.listeners.push(({ name, before, after }) => {
    if (!after?.status) return;
    const { epoch, lastGrantedEpoch, nodeName } = after.status;
    const machine = vmUidOf(after);
    const known = granted.get(machine) ?? 0;
    const same = before?.metadata?.uid === after.metadata?.uid;
    if (lastGrantedEpoch < known) world.fail("I4", `${name}: the last granted epoch falls from ${known} to ${lastGrantedEpoch}`);
    if (same && epoch < (before?.status?.epoch ?? 0)) world.fail("I4", `${name}: the epoch falls from ${before!.status!.epoch} to ${epoch}`);
    if (epoch > lastGrantedEpoch) world.fail("I4", `${name}: it stands at epoch ${epoch}, and ${lastGrantedEpoch} was the last one granted`);
    const { claim, ownerReport } = after.status;
    if (claim && claim.epoch !== epoch) world.fail("I4", `${name}: it stands at epoch ${epoch}, and is claimed at ${claim.epoch}`);
    if (same && ownerReport && ownerReport.epoch < (before?.status?.ownerReport?.epoch ?? 0)) world.fail("I15", `${name}: a report of epoch ${ownerReport.epoch} stands over one of ${before!.status!.ownerReport!.epoch}`);
    const moved = same && before?.status?.nodeName !== nodeName && nodeName !== "" && before?.status?.claim !== undefined;
    if (moved && epoch <= (before?.status?.epoch ?? 0)) world.fail("I4", `${name}: it moves to ${nodeName} without a new epoch`);
    granted.set(machine, Math.max(known, lastGrantedEpoch));
  });
}

/** Whatever is merged is about the record as it stands: a word under an older epoch is of a run or of an owner that is over. */
function merged(world: World, mirror: Mirror): void {
  mirror.instances.listeners.push(({ name, before, after }) => {
    const [was, is] = [before?.status?.ownerReport, after?.status?.ownerReport];
    if (!is || (was?.agentInstance === is.agentInstance && was.generation === is.generation)) return;
    const { epoch } = after!.status!;
    if (is.epoch !== epoch) world.fail("I15", `${name}: a report of epoch ${is.epoch} is merged, and the record stands at ${epoch}`);
  });
}

type Word = { agentInstance: string; generation: number };
const older = (before: Word | undefined, after: Word | undefined): boolean =>
  before !== undefined && after !== undefined && before.agentInstance === after.agentInstance && after.generation < before.generation;

function words(world: World, mirror: Mirror): void {
  mirror.instances.listeners.push(({ name, before, after }) => {
    if (!before || !after || before.metadata?.uid !== after.metadata?.uid) return;
    const [was, is] = [before.status, after.status];
    const sameEpoch = was?.ownerReport?.epoch === is?.ownerReport?.epoch;
    if (sameEpoch && older(was?.ownerReport, is?.ownerReport)) world.fail("I15", `${name}: an older report of its owner stands over a newer one`);
    if (was?.migration?.uid !== is?.migration?.uid) return;
    if (older(was?.migration?.source, is?.migration?.source)) world.fail("I15", `${name}: an older word of its source stands over a newer one`);
    if (older(was?.migration?.target, is?.migration?.target)) world.fail("I15", `${name}: an older word of its target stands over a newer one`);
  });
}

const ENDED: readonly MigrationPhase[] = [MigrationPhase.SUCCEEDED, MigrationPhase.FAILED, MigrationPhase.CANCELLED];

/** The end of a migration is told once, and is what the machine's record shows. */
function endings(world: World, mirror: Mirror): void {
  mirror.migrations.listeners.push(({ name, before, after }) => {
    const [was, is] = [before?.status?.phase, after?.status?.phase];
    if (was === undefined || is === undefined || !ENDED.includes(was) || was === is) return;
    world.fail("I5", `migration ${name} had ended as ${wordOf(MigrationPhase, was)}, and is ${wordOf(MigrationPhase, is)} now`);
  });
}

export const involves = ({ status }: VirtualMachineInstance, node: string): boolean =>
  status?.migration !== undefined && (status.migration.sourceNode === node || status.migration.targetNode === node);
