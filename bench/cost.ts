/**
 * What a start and a migration cost Drover itself: processor time of each of its programs, commits and bytes. Other than
 * durations these hold on a machine that has other things to do as well. What the programs burn anyway in the same time,
 * with nothing asked of them, is measured first and taken off.
 */
import { MigrationPhase } from "../gen/drover/v1/migration.ts";
import { positionOf } from "../controller/revision.ts";
import { delay, systemClock } from "../lib/clock.ts";
import { Fleet } from "../test/lab/fleet.ts";
import { GUEST_READY } from "../test/lab/guest.ts";
import { waitForLineIn } from "../test/lab/process.ts";
import { ARRIVAL_EVERY_MS } from "./arrivals.ts";
import { ControlPlane } from "./control-plane.ts";
import { createCrowd } from "./crowd.ts";
import { figure } from "./figure.ts";
import type { Figure, Report } from "./figure.ts";
import { LocalFleet } from "./local-fleet.ts";
import { guestMachine, NAMESPACE } from "./machines.ts";
import { between, spentBy } from "./processor.ts";
import type { Programs, Spent } from "./processor.ts";
import type { Settings } from "./settings.ts";

const MACHINES = 100;
const WARM_UP_MACHINES = 100;
const QUICK_MACHINES = 20;
const IDLE_MS = 5_000;
const SETTLE_MS = 2_000;
const MIGRATIONS_A_PAIR = 2;
const WARM_UP_MIGRATIONS = 4;
/** The hosts tidy up meanwhile. */
const BETWEEN_MS = 500;
const BOOT_TIMEOUT_MS = 60_000;
const NAME = "bench-cost";
const KIBIBYTE = 1024;

type Measured = { each: Spent; idleMsPerSecond: number; commits: number };

/** On agents over libvirt's test driver. */
export async function benchStartCost({ quick, say }: Settings): Promise<Report[]> {
  await using fleet = await LocalFleet.start({ agents: ["a", "b"] });
  using plane = await ControlPlane.open(fleet.unixServer);
  const programs = [...fleet.pids()].map(([name, pid]) => (name === "a" || name === "b" ? { name: "node-agent", pid, agent: true } : { name, pid, agent: false }));
  const crowd = (count: number, prefix: string) => createCrowd(plane, { count, everyMs: ARRIVAL_EVERY_MS, prefix });
  await crowd(WARM_UP_MACHINES, "warm");
  const count = quick ? QUICK_MACHINES : MACHINES;
  const measured = await measure({ programs, plane, count }, () => crowd(count, "crowd"));
  const report = asReport(`Cost of a start: CreateVirtualMachine until Running, of ${count} on two agents over libvirt's test driver`, measured);
  say(lineOf(report));
  return [report];
}

/** Of an idle guest, to and fro between two real hosts. */
export async function benchMigrationCost({ pairs, say }: Settings): Promise<Report[]> {
  await using fleet = await Fleet.start({ apiServer: { logLevel: "info" }, controller: { logLevel: "info" } });
  using plane = await ControlPlane.open(fleet.unixServer);
  const agents = fleet.agents().map(({ pid }) => ({ name: "node-agent", pid, agent: true }));
  const programs = [{ name: "api-server", pid: fleet.apiServer.pid, agent: false }, { name: "controller", pid: fleet.controller.pid, agent: false }, ...agents];
  await bootGuest(fleet, plane);
  const migrate = async (times: number) => {
    for (let index = 0; index < times; index++) say(`migration-cost ${index + 1}/${times}: ${(await migrateOnce(plane)).toFixed(0)} ms`);
  };
  await migrate(WARM_UP_MIGRATIONS);
  const count = pairs * MIGRATIONS_A_PAIR;
  const measured = await measure({ programs, plane, count }, () => migrate(count));
  const report = asReport(`Cost of a migration: MigrateVirtualMachine until Succeeded, of ${count} of an idle guest of 128 MiB`, measured);
  say(lineOf(report));
  return [report];
}

type Subject = { programs: Programs; plane: ControlPlane; count: number };

async function measure({ programs, plane, count }: Subject, work: () => Promise<unknown>): Promise<Measured> {
  await delay(systemClock, SETTLE_MS);
  const idleFrom = spentBy(programs);
  await delay(systemClock, IDLE_MS);
  const [from, revision, beganMs] = [spentBy(programs), await revisionOf(plane), systemClock.monotonicMs()];
  await work();
  await delay(systemClock, SETTLE_MS);
  const tookMs = systemClock.monotonicMs() - beganMs;
  const idle = between(idleFrom, from, IDLE_MS);
  const each = between(from, spentBy(programs), count);
  const cpuMs = new Map([...each.cpuMs].map(([name, ms]) => [name, ms - ((idle.cpuMs.get(name) ?? 0) * tookMs) / count]));
  const commits = ((await revisionOf(plane)) - revision) / count;
  return { each: { ...each, cpuMs }, idleMsPerSecond: sum(idle.cpuMs) * 1000, commits };
}

async function revisionOf({ api }: ControlPlane): Promise<number> {
  const { revision } = await api.machines.listVirtualMachines({ namespace: NAMESPACE, pageSize: 1, pageToken: "", labelSelector: "", fieldSelector: "" });
  return positionOf(revision)!.number;
}

async function bootGuest(fleet: Fleet, plane: ControlPlane): Promise<void> {
  await plane.create(guestMachine(NAME));
  const { instance } = await plane.start(NAME);
  const host = fleet.lab.host(instance.status!.nodeName);
  await waitForLineIn(`${fleet.machineDirectory(host, instance.metadata!.uid)}/console.log`, GUEST_READY, { timeoutMs: BOOT_TIMEOUT_MS });
}

/** Until its record has ended and the machine's names the host on which it is now. */
async function migrateOnce(plane: ControlPlane): Promise<number> {
  const beganMs = systemClock.monotonicMs();
  let asked = "";
  const ended = plane.migrations.next("the migration to end", ({ object, deleted }) => !deleted && object.metadata!.name === asked && FINAL.has(object.status?.phase ?? 0));
  const { migration } = await plane.api.machines.migrateVirtualMachine({ namespace: NAMESPACE, name: NAME, targetNode: "", addedNodeSelector: {}, requestId: "", validateOnly: false });
  asked = migration!.metadata!.name;
  const { object } = await ended;
  if (object.status?.phase !== MigrationPhase.SUCCEEDED) throw new Error(`The migration did not succeed: ${object.status?.message}`);
  const tookMs = systemClock.monotonicMs() - beganMs;
  await delay(systemClock, BETWEEN_MS);
  return tookMs;
}

const FINAL = new Set<MigrationPhase>([MigrationPhase.SUCCEEDED, MigrationPhase.FAILED, MigrationPhase.CANCELLED]);

const sum = (figures: ReadonlyMap<string, number>): number => [...figures.values()].reduce((total, each) => total + each, 0);

function asReport(title: string, { each, idleMsPerSecond, commits }: Measured): Report {
  return {
    title,
    figures: [
      figure("processor time of all programs", sum(each.cpuMs), "ms", { note: `idle they take ${idleMsPerSecond.toFixed(1)} ms a second, which is not in it` }),
      ...[...each.cpuMs].map(([name, ms]): Figure => figure(`of it ${name}`, ms, "ms")),
      figure("commits, events included", commits, ""),
      figure("written to the disk", each.diskBytes / KIBIBYTE, "KiB"),
      figure("written by the programs in all, to each other as well", each.writtenBytes / KIBIBYTE, "KiB"),
    ],
  };
}

const lineOf = ({ figures }: Report): string => figures.map(({ name, value, unit }) => `${name} ${value.toFixed(1)} ${unit}`.trim()).join(", ");
