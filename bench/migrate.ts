/**
 * Live migration of an idle guest to and fro, against `virsh migrate` with the same flags for a copy of the same guest
 * that idles beside it, and what encryption costs either of them. Downtime is QEMU's own figure, out of the same event of
 * libvirt on both sides.
 */
import { readdirSync, readFileSync } from "node:fs";
import { MigrationPhase } from "../gen/drover/v1/migration.ts";
import { systemClock } from "../lib/clock.ts";
import { serverNameOf } from "../lib/pki/identity.ts";
import type { JobStats } from "../node-agent/libvirt/hypervisor.ts";
import { Fleet } from "../test/lab/fleet.ts";
import { GUEST_READY } from "../test/lab/guest.ts";
import { waitForLineIn } from "../test/lab/process.ts";
import { DirectHost, copyOf } from "./baseline.ts";
import { ControlPlane, named } from "./control-plane.ts";
import { amount, figure, ratioOf } from "./figure.ts";
import type { Report } from "./figure.ts";
import { guestMachine, NAMESPACE } from "./machines.ts";
import type { Settings } from "./settings.ts";
import { quantile } from "./statistics.ts";
import type { Pair } from "./statistics.ts";

const TOTAL_RATIO = 1.15;
const DOWNTIME_RATIO = 1.1;
/** One migration takes between one and two and a half seconds here, alone or not: the ratio needs more of them. */
const PAIRS_FACTOR = 3;
const NAME = "bench-migrate";
const BOOT_TIMEOUT_MS = 60_000;
/** virsh has these of what Drover's agent asks for; both move definition and guest. */
const FLAGS = "--live --p2p --persistent --undefinesource --unsafe --abort-on-error";
const MEBIBYTE = 1 << 20;
const DOOR_POLL_MS = 100;
const PROCESSES = /node-agent\/door\/main\.ts\0/;

type Ends = { from: DirectHost; to: DirectHost };
type Move = { totalMs: number; downtimeMs: number; mibPerSecond: number };
type Round = { total: Pair; downtime: Pair; encryption: Pair; encrypted: number; plain: number };

export async function benchMigrate({ pairs: asked, say }: Settings): Promise<Report[]> {
  const pairs = asked * PAIRS_FACTOR;
  await using fleet = await Fleet.start({ apiServer: { logLevel: "info" }, controller: { logLevel: "info" } });
  using plane = await ControlPlane.open(fleet.unixServer);
  await using a = await DirectHost.open(fleet.lab.host("a"));
  await using b = await DirectHost.open(fleet.lab.host("b"));
  const directs = [a, b];
  const { ours, theirs } = await bootBoth(fleet, plane, directs);
  const names = await qemuNames(plane, directs);
  const recorded: number[] = [];
  const doors: number[] = [];
  const rounds: Round[] = [];
  for (let index = 0; index <= pairs; index++) {
    const moveOurs = async () => {
      using _watched = watchDoors(doors);
      const moved = await migrateOurs(plane, await endsOf(directs, ours));
      recorded.push(moved.recordedMs);
      return moved;
    };
    const moveTheirs = async (tls: boolean) => {
      const ends = await endsOf(directs, theirs);
      return migrateTheirs(theirs, ends, tls ? `--tls --tls-destination ${names.get(ends.to.host.name)}` : "");
    };
    const early = index % 2 === 0 ? await moveOurs() : undefined;
    const their = await moveTheirs(true);
    const our = early ?? (await moveOurs());
    const plain = await moveTheirs(false);
    say(`migrate ${index}/${pairs}: ${our.totalMs.toFixed(0)} ms (down ${our.downtimeMs}), virsh ${their.totalMs.toFixed(0)} ms (down ${their.downtimeMs}), in the clear ${plain.totalMs.toFixed(0)} ms`);
    if (index === 0) continue;
    rounds.push({
      total: { ours: our.totalMs, theirs: their.totalMs },
      downtime: { ours: our.downtimeMs, theirs: their.downtimeMs },
      encryption: { ours: their.totalMs, theirs: plain.totalMs },
      encrypted: their.mibPerSecond,
      plain: plain.mibPerSecond,
    });
  }
  return report(rounds, recorded, Math.max(...doors));
}

/** The name under which each host's QEMU is verified. */
async function qemuNames(plane: ControlPlane, directs: readonly DirectHost[]): Promise<Map<string, string>> {
  const entries = directs.map(async ({ host: { name } }) => {
    const { node } = await plane.api.nodes.getNode({ name });
    return [name, serverNameOf("drover", { kind: "migration", uid: node!.metadata!.uid })] as const;
  });
  return new Map(await Promise.all(entries));
}

/** Notes the resident MiB of every door and passage that runs until it is disposed of. */
function watchDoors(into: number[]): Disposable {
  const look = () => {
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      const [commandLine, status] = ["cmdline", "status"].map((file) => readOrNothing(`/proc/${pid}/${file}`));
      const kib = /^VmRSS:\s+(\d+)/m.exec(status!)?.[1];
      if (kib !== undefined && PROCESSES.test(commandLine!)) into.push(Number(kib) / 1024);
    }
  };
  const timer = setInterval(look, DOOR_POLL_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function readOrNothing(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // It ended since it was listed.
  }
}

async function bootBoth(fleet: Fleet, plane: ControlPlane, directs: readonly DirectHost[]): Promise<{ ours: string; theirs: string }> {
  await plane.create(guestMachine(NAME));
  const { instance } = await plane.start(NAME);
  const ours = instance.spec!.domain!.firmware!.uuid;
  const home = directs.find(({ host }) => host.name === instance.status!.nodeName)!;
  const hosts = directs.map(({ host }) => host);
  const copy = copyOf(await home.hypervisor.xml(ours, "inactive"), { hosts, name: "libvirt-alone" });
  await home.start(copy.xml);
  const console = `${fleet.machineDirectory(home.host, instance.metadata!.uid)}/console.log`;
  await waitForLineIn(console, GUEST_READY, { timeoutMs: BOOT_TIMEOUT_MS });
  await waitForLineIn(`${home.host.localDirectory}/bench/libvirt-alone/console.log`, GUEST_READY, { timeoutMs: BOOT_TIMEOUT_MS });
  return { ours, theirs: copy.uuid };
}

async function endsOf(directs: readonly DirectHost[], uuid: string): Promise<Ends> {
  const [a, b] = directs as readonly [DirectHost, DirectHost];
  return (await a.hypervisor.get(uuid)) ? { from: a, to: b } : { from: b, to: a };
}

/** The figures of the transfer, as the source's libvirt tells them when it is over. */
async function completed(from: DirectHost): Promise<JobStats> {
  const { event } = await from.next(({ type }) => type === "job-completed");
  return event.type === "job-completed" ? event.stats : { kind: "none" };
}

async function migrateOurs(plane: ControlPlane, { from, to }: Ends): Promise<Move & { recordedMs: number }> {
  const stats = completed(from);
  const ended = plane.migrations.next("the migration to end", ({ object, deleted }) => !deleted && FINAL.has(object.status?.phase ?? 0) && object.status?.targetNode === to.host.name);
  const landed = plane.instances.next(`${NAME} to be on ${to.host.name}`, (seen) => named(seen, NAME) && seen.object.status?.nodeName === to.host.name);
  const beganMs = systemClock.monotonicMs();
  await plane.api.machines.migrateVirtualMachine({ namespace: NAMESPACE, name: NAME, targetNode: to.host.name, addedNodeSelector: {}, requestId: "", validateOnly: false });
  const { atMs, object } = await ended;
  if (object.status?.phase !== MigrationPhase.SUCCEEDED) throw new Error(`The migration did not succeed: ${object.status?.message}`);
  await landed;
  return { totalMs: atMs - beganMs, ...figuresOf(await stats), recordedMs: object.status.progress?.downtimeMs ?? NaN };
}

async function migrateTheirs(uuid: string, { from, to }: Ends, encryption: string): Promise<Move> {
  const stats = completed(from);
  const totalMs = await from.virsh(`migrate ${FLAGS} ${encryption} ${uuid} ${to.host.directUri} --migrateuri tcp://${to.host.address}`);
  return { totalMs, ...figuresOf(await stats) };
}

const figuresOf = ({ downtimeMs = NaN, memoryBytesPerSecond = NaN }: JobStats): Omit<Move, "totalMs"> =>
  ({ downtimeMs, mibPerSecond: memoryBytesPerSecond / MEBIBYTE });

const FINAL = new Set<MigrationPhase>([MigrationPhase.SUCCEEDED, MigrationPhase.FAILED, MigrationPhase.CANCELLED]);

function report(rounds: readonly Round[], recorded: readonly number[], doorMib: number): Report[] {
  const rate = (of: "encrypted" | "plain") => quantile(rounds.map((round) => round[of]), 0.5);
  return [{
    title: "Live migration of an idle guest of 128 MiB: MigrateVirtualMachine until a watcher sees Succeeded",
    figures: [
      ratioOf("of the time of virsh migrate", rounds.map(({ total }) => total), { atMost: TOTAL_RATIO, baseline: "virsh" }),
      ratioOf("of the guest's downtime", rounds.map(({ downtime }) => downtime), { atMost: DOWNTIME_RATIO, baseline: "virsh" }),
      figure("downtime in the migration's record, p50", quantile(recorded, 0.5), "ms"),
      ratioOf("of the time of virsh migrate without TLS, by virsh with TLS", rounds.map(({ encryption }) => encryption), { baseline: "in the clear" }),
      figure("memory moved with TLS, p50", rate("encrypted"), "MiB", { note: `a second; in the clear ${amount(rate("plain"))} MiB` }),
      figure("resident memory of a door or passage, at most", doorMib, "MiB", { note: "two processes for as long as a migration lasts" }),
    ],
  }];
}
