/** One cell on real hosts: a migration is held in a phase, a party is lost and comes back, and then all has to be at rest and true. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { MigrationPhase, migrationPhaseToJSON, migrationReasonToJSON } from "../../../gen/drover/v1/migration.ts";
import type { VirtualMachineInstanceMigrationStatus } from "../../../gen/drover/v1/migration.ts";
import { NodeSessionState } from "../../../gen/drover/v1/node.ts";
import { DomainState, Phase } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { systemClock } from "../../../lib/clock.ts";
import { parseInstanceMetadata } from "../../../node-agent/domain/metadata.ts";
import { droverElement } from "../../../node-agent/libvirt/metadata.ts";
import { doorRemains } from "../doors.ts";
import type { Fleet } from "../fleet.ts";
import { Machine } from "../machine.ts";
import { waitFor, WaitTimedOut } from "../process.ts";
import { hold } from "./hold.ts";
import { strike } from "./strike.ts";
import { endsOf } from "./table.ts";
import type { Cell } from "./table.ts";
import { DiskLog, Watch } from "./watch.ts";

/** How soon everything must be at rest once the party is back. */
export const REST_WITHIN_MS = 60_000;
/** A guest that was lost may only just have begun to boot. */
const GUEST_WITHIN_MS = 60_000;
const IMAGE = "ledger.raw";
/** Seconds between two entries of the guest's log. */
const LOG_INTERVAL = "0.5";
const VOLUMES_MAX = 100;

export type Bench = { fleet: Fleet; machine: Machine; log: DiskLog };
export type CellResult = { end: string; seconds: number };

/** What a migration may wait for is short, so that a party can be away for longer than that. */
export const MATRIX_FLEET = {
  controller: { migrations: { budgets: { schedulingMs: 5_000, preparingTargetMs: 5_000, targetReadyMs: 5_000, tidyMs: 5_000, orphanAfterMs: 2_000 } } },
  agentMigration: { quietMs: 1_000 },
};

export async function furnish(fleet: Fleet): Promise<Bench> {
  const machine = await Machine.running(fleet, "ledger", {
    kernelArguments: `log=${LOG_INTERVAL}`,
    volumes: [{ name: "data", disk: { pool: "shared", size: "16Mi", format: "raw", image: IMAGE } }],
  });
  const log = new DiskLog(join(fleet.lab.poolDirectory, IMAGE));
  await waitFor("the guest to write its log", () => log.read().length > 1 || undefined);
  return { fleet, machine, log };
}

export async function runCell(bench: Bench, cell: Cell): Promise<CellResult> {
  const { fleet, machine, log } = bench;
  const began = systemClock.monotonicMs();
  const { ends, restart } = endsOf(cell);
  await using watch = new Watch({ hosts: fleet.lab.hosts(), uuid: await machine.uuid(), log });
  const held = await hold(fleet, machine, cell.phase);
  try {
    await strike({ fleet, machine, held, cell });
  } finally {
    await held.release();
  }
  await rests(bench, held.migration);
  const { status } = await machine.migration(held.migration);
  const end = endOf(status!);
  const written = watch.written;
  await waitFor("the guest to write on", () => log.read(watch.from).length + watch.from > written + 1 || undefined, { timeoutMs: GUEST_WITHIN_MS });
  assert.deepEqual(await watch.end({ restart }), [], "what was seen from outside");
  assert.ok(ends.includes(end), `it ended ${end} (${status!.message}), and may end ${ends.join(", ")}`);
  if (!restart) assert.equal(await machine.node(), end === "Succeeded" ? held.target.name : held.source.name, "the owner is where the story says");
  return { end, seconds: Math.round((systemClock.monotonicMs() - began) / 100) / 10 };
}

/** Such as "Succeeded" or "Failed TRANSFER_FAILED". */
function endOf({ phase, reason }: VirtualMachineInstanceMigrationStatus): string {
  const [word, why] = [migrationPhaseToJSON(phase).replace("MIGRATION_PHASE_", ""), migrationReasonToJSON(reason).replace("MIGRATION_REASON_", "")];
  const ended = `${word[0]}${word.slice(1).toLowerCase()}`;
  return phase === MigrationPhase.FAILED ? `${ended} ${why}` : ended;
}

async function rests(bench: Bench, migration: string): Promise<void> {
  let unrest: string[] = [];
  try {
    await waitFor("all to be at rest", async () => {
      unrest = await unrestOf(bench, migration).catch((error: Error) => [error.message]);
      return unrest.length === 0 || undefined;
    }, { timeoutMs: REST_WITHIN_MS });
  } catch (error) {
    if (!(error instanceof WaitTimedOut)) throw error;
    throw new Error(`${error.message}: ${unrest.join("; ")}`, { cause: error });
  }
}

const ENDED: readonly MigrationPhase[] = [MigrationPhase.SUCCEEDED, MigrationPhase.FAILED, MigrationPhase.CANCELLED];

/** Everything in which records and hosts are not one, or in which something is still open. */
async function unrestOf({ fleet, machine }: Bench, migration: string): Promise<string[]> {
  const { status: story } = await machine.migration(migration);
  const instance = await machine.instance();
  const { nodeName = "", epoch = 0, phase, migration: grant, ownerReport } = instance?.status ?? {};
  const unrest = [
    !ENDED.includes(story!.phase) && `the migration is ${migrationPhaseToJSON(story!.phase)}`,
    grant && "the machine's record carries a migration",
    (phase !== Phase.RUNNING || ownerReport?.state !== DomainState.RUNNING) && `the machine is recorded as ${phase}, its domain as ${ownerReport?.state}`,
    ...(await Promise.all(fleet.lab.hosts().map(async ({ name }) => {
      const { node } = await fleet.api.nodes.getNode({ name });
      return (node!.status!.session!.state !== NodeSessionState.CONNECTED || !node!.status!.report!.hypervisorConnected) && `node ${name} is not connected`;
    }))),
    ...(await domainFaults({ fleet, uuid: await machine.uuid(), nodeName, epoch })),
    ...doorRemains(fleet).map((left) => `${left} is left of a door`),
    await holderFault(fleet, { vmiUid: instance?.metadata?.uid ?? "", epoch }),
  ];
  return unrest.filter((fault) => typeof fault === "string");
}

/** By virsh: one domain, on the recorded host, under the recorded epoch, and no trace of it elsewhere. */
async function domainFaults({ fleet, uuid, nodeName, epoch }: { fleet: Fleet; uuid: string; nodeName: string; epoch: number }): Promise<string[]> {
  const found = await Promise.all(fleet.lab.hosts().map(async (host) => {
    const has = (await host.virsh("list", "--all", "--uuid")).includes(uuid);
    if (host.name !== nodeName) return has ? [`${host.name} has a domain that is not its own`] : [];
    if (!has || (await host.virsh("domstate", uuid)).trim() !== "running") return [`${host.name} does not run the machine`];
    const carried = parseInstanceMetadata(droverElement(await host.virsh("dumpxml", uuid)))?.epoch;
    return carried === epoch ? [] : [`the domain's epoch is ${carried}, the record's ${epoch}`];
  }));
  return nodeName === "" ? ["the machine is nowhere", ...found.flat()] : found.flat();
}

async function holderFault(fleet: Fleet, owner: { vmiUid: string; epoch: number }): Promise<string | undefined> {
  const { volumes } = await fleet.api.volumes.listVolumes({ pageSize: VOLUMES_MAX, pageToken: "", labelSelector: "", fieldSelector: "" });
  const holder = volumes.find(({ spec }) => spec!.image === IMAGE)?.status?.holder;
  return holder?.vmiUid === owner.vmiUid ? undefined : `the volume's holder is ${holder?.vmiUid ?? "nobody"}, the machine's run ${owner.vmiUid}`;
}
