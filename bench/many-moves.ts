/**
 * Many guests that move: ten asked for at once against virsh with as many at a time as Drover's limits allow, and a node
 * that is drained against the sum of what its migrations were forecast to take.
 */
import { DrainPhase } from "../gen/drover/v1/node.ts";
import type { VirtualMachineInstanceMigration } from "../gen/drover/v1/migration.ts";
import { systemClock } from "../lib/clock.ts";
import { Fleet } from "../test/lab/fleet.ts";
import { GUEST_READY } from "../test/lab/guest.ts";
import { waitFor, waitForLineIn } from "../test/lab/process.ts";
import { DirectHost } from "./baseline.ts";
import { ControlPlane } from "./control-plane.ts";
import { figure, ratioOf } from "./figure.ts";
import type { Report } from "./figure.ts";
import { guestMachine } from "./machines.ts";
import { bootTwins, encryptedFor, endsOf, FINAL, moveOurs, moveTheirs, qemuNames } from "./moves.ts";
import type { Twins } from "./moves.ts";
import { overcommit } from "./overcommit.ts";
import type { Settings } from "./settings.ts";
import type { Pair } from "./statistics.ts";

const AT_ONCE = 10;
const QUICK_AT_ONCE = 4;
/** The controller's limit where nobody has set another one: so many leave a node at a time. */
const OUTBOUND_PER_NODE = 2;
/** Throughput of at least 0.95 of libvirt's own. */
const TIME_RATIO = 1 / 0.95;
const DRAINED = 20;
const QUICK_DRAINED = 4;
const DRAIN_TIMEOUT_MS = 600_000;
const BOOT_TIMEOUT_MS = 300_000;
const SECOND_MS = 1_000;

export async function benchMigrateMany({ pairs, quick, say }: Settings): Promise<Report[]> {
  const count = quick ? QUICK_AT_ONCE : AT_ONCE;
  await using fleet = await Fleet.start({ apiServer: { logLevel: "info" }, controller: { logLevel: "info" } });
  await overcommit(fleet.unixServer);
  using plane = await ControlPlane.open(fleet.unixServer);
  await using a = await DirectHost.open(fleet.lab.host("a"));
  await using b = await DirectHost.open(fleet.lab.host("b"));
  const directs = [a, b];
  const names = await qemuNames(plane, directs);
  const twins = await Promise.all(Array.from({ length: count }, async (_, index) => {
    const name = `bench-many-${index}`;
    await plane.create(guestMachine(name, { hasDisk: false }));
    return bootTwins(fleet, plane, { name, directs });
  }));
  const ours = () => timed(Promise.all(twins.map(async (each) => moveOurs(plane, each, await endsOf(directs, each.ours)))));
  const theirs = () => timed(moveAllTheirs(twins, { directs, names }));
  const rounds: Pair[] = [];
  for (let index = 0; index <= pairs; index++) {
    const early = index % 2 === 0 ? await ours() : undefined;
    const their = await theirs();
    const pair = { ours: early ?? (await ours()), theirs: their };
    say(`migrate-many ${index}/${pairs}: ${count} in ${pair.ours.toFixed(0)} ms, virsh ${pair.theirs.toFixed(0)} ms`);
    if (index > 0) rounds.push(pair);
  }
  const each = rounds.map((round) => count / (round.ours / SECOND_MS));
  return [{
    title: `${count} live migrations asked for at once between two hosts, ${OUTBOUND_PER_NODE} at a time from each`,
    figures: [
      ratioOf("of the time of virsh with as many at a time", rounds, { atMost: TIME_RATIO, baseline: "virsh" }),
      figure("migrations a second, at best", Math.max(...each), "/s"),
    ],
  }];
}

/** From each host as many at a time as Drover lets leave it. */
async function moveAllTheirs(twins: readonly Twins[], { directs, names }: { directs: readonly DirectHost[]; names: ReadonlyMap<string, string> }): Promise<void> {
  const moves = await Promise.all(twins.map(async (each) => ({ each, ends: await endsOf(directs, each.theirs) })));
  const workers = directs.flatMap((from) => {
    const waiting = moves.filter(({ ends }) => ends.from === from);
    return Array.from({ length: OUTBOUND_PER_NODE }, async () => {
      for (let move = waiting.pop(); move; move = waiting.pop()) await moveTheirs(move.each, move.ends, encryptedFor(names, move.ends));
    });
  });
  await Promise.all(workers);
}

export async function benchDrain({ quick, say }: Settings): Promise<Report[]> {
  const count = quick ? QUICK_DRAINED : DRAINED;
  await using fleet = await Fleet.start({ apiServer: { logLevel: "info" }, controller: { logLevel: "info" } });
  await overcommit(fleet.unixServer);
  using plane = await ControlPlane.open(fleet.unixServer);
  await crowdOn(fleet, plane, { host: "a", other: "b", count });
  const ended = new Map<string, VirtualMachineInstanceMigration>();
  using _ = plane.migrations.each(({ object }) => {
    if (FINAL.has(object.status?.phase ?? 0)) ended.set(object.metadata!.uid, object);
  });
  const tookMs = await timed(drain(plane, "a"));
  const predictedMs = [...ended.values()].reduce((sum, { status }) => sum + (status?.forecast?.durationMs ?? NaN), 0);
  say(`drain: ${count} machines in ${tookMs.toFixed(0)} ms, ${ended.size} migrations forecast to take ${predictedMs.toFixed(0)} ms one after the other`);
  return [{
    title: `Drain of a node with ${count} idle guests of 128 MiB, ${OUTBOUND_PER_NODE} migrations at a time`,
    figures: [
      figure("DrainNode until no machine is left", tookMs, "ms"),
      figure("sum of the forecasts of its migrations", predictedMs, "ms", { note: `${ended.size} migrations` }),
      figure("of that sum", tookMs / predictedMs, "×"),
      figure(`of that sum, with ${OUTBOUND_PER_NODE} at a time`, (OUTBOUND_PER_NODE * tookMs) / predictedMs, "×"),
    ],
  }];
}

/** The other host takes nothing meanwhile. */
async function crowdOn(fleet: Fleet, plane: ControlPlane, { host, other, count }: { host: string; other: string; count: number }): Promise<void> {
  const asked = { requestId: "", validateOnly: false };
  await plane.api.nodes.cordonNode({ name: other, ...asked });
  await Promise.all(Array.from({ length: count }, async (_, index) => {
    const name = `bench-drain-${index}`;
    await plane.create(guestMachine(name, { hasDisk: false }));
    const { instance } = await plane.start(name);
    const console = `${fleet.machineDirectory(fleet.lab.host(host), instance.metadata!.uid)}/console.log`;
    await waitForLineIn(console, GUEST_READY, { timeoutMs: BOOT_TIMEOUT_MS });
  }));
  await plane.api.nodes.uncordonNode({ name: other, ...asked });
}

async function drain(plane: ControlPlane, name: string): Promise<void> {
  await plane.api.nodes.drainNode({ name, planId: "", allowStop: [], allowStopAll: false, requestId: "", validateOnly: false });
  await waitFor(`${name} to be drained`, async () => {
    const { node } = await plane.api.nodes.getNode({ name });
    const { drain: asked, drainProgress: progress } = node!.status!;
    return (progress?.uid === asked?.uid && progress?.phase === DrainPhase.COMPLETED) || undefined;
  }, { timeoutMs: DRAIN_TIMEOUT_MS });
}

async function timed(work: Promise<unknown>): Promise<number> {
  const beganMs = systemClock.monotonicMs();
  await work;
  return systemClock.monotonicMs() - beganMs;
}
