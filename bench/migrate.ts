/**
 * Live migration of a guest to and fro, against `virsh migrate` with the same flags for a copy of the same guest beside
 * it: idle, with what encryption costs either of them; and while it writes to its memory.
 */
import { readdirSync } from "node:fs";
import type { VirtualMachine } from "../gen/drover/v1/virtual_machine.ts";
import { delay, systemClock } from "../lib/clock.ts";
import { Fleet } from "../test/lab/fleet.ts";
import { DirectHost } from "./baseline.ts";
import { ControlPlane } from "./control-plane.ts";
import { amount, figure, ratioOf } from "./figure.ts";
import type { Report } from "./figure.ts";
import { guestMachine } from "./machines.ts";
import { bootTwins, encryptedFor, endsOf, moveOurs, moveTheirs, qemuNames } from "./moves.ts";
import type { Move, Twins } from "./moves.ts";
import { readOrNothing } from "./processor.ts";
import type { Settings } from "./settings.ts";
import { quantile } from "./statistics.ts";
import type { Pair } from "./statistics.ts";

const TOTAL_RATIO = 1.1;
const DOWNTIME_RATIO = 1.05;
/** One migration takes between one and two and a half seconds here, alone or not: the ratio needs more of them. */
const PAIRS_FACTOR = 3;
const NAME = "bench-migrate";
/** Of 128 MiB, fast enough to be sent again and slow enough to be caught. */
const DIRTY = { mebibytes: 16, perSecond: 16 };
const DOOR_POLL_MS = 100;
/** After its move a side may have more to do, as Drover starts a spare door a second later: that must not fall into the other's time. */
const SETTLE_MS = 3_000;
const PROCESSES = /node-agent\/door\/main\.ts\0/;

type Sides = { plane: ControlPlane; directs: readonly DirectHost[]; twins: Twins; names: ReadonlyMap<string, string> };
type Round = { total: Pair; downtime: Pair; recordedMs: number; encryptedRate: number };

export async function benchMigrate({ pairs: asked, say }: Settings): Promise<Report[]> {
  const pairs = asked * PAIRS_FACTOR;
  const doors: number[] = [];
  const clear: Move[] = [];
  const encrypted: Move[] = [];
  const rounds = await compare(guestMachine(NAME), { pairs, say }, {
    watching: () => watchDoors(doors),
    async after({ directs, twins }, theirs) {
      encrypted.push(theirs);
      clear.push(await moveTheirs(twins, await endsOf(directs, twins.theirs), ""));
    },
  });
  const clearRate = quantile(clear.slice(1).map(({ mibPerSecond }) => mibPerSecond), 0.5);
  const encryption = clear.map(({ totalMs }, index): Pair => ({ ours: encrypted[index]!.totalMs, theirs: totalMs })).slice(1);
  return [{
    title: "Live migration of an idle guest of 128 MiB: MigrateVirtualMachine until a watcher sees Succeeded",
    figures: [
      ...ratios(rounds),
      ratioOf("of the time of virsh migrate without TLS, by virsh with TLS", encryption, { baseline: "in the clear" }),
      figure("memory moved with TLS, p50", quantile(rounds.map(({ encryptedRate }) => encryptedRate), 0.5), "MiB", { note: `a second; in the clear ${amount(clearRate)} MiB` }),
      figure("resident memory of a door or passage, at most", Math.max(...doors), "MiB", { note: "two processes for as long as a migration lasts" }),
    ],
  }];
}

export async function benchMigrateDirty({ pairs: asked, say }: Settings): Promise<Report[]> {
  const rounds = await compare(guestMachine(NAME, { dirty: DIRTY }), { pairs: asked * PAIRS_FACTOR, say });
  const { mebibytes, perSecond } = DIRTY;
  return [{
    title: `Live migration of a guest of 128 MiB that rewrites ${mebibytes} MiB, ${perSecond} MiB a second: MigrateVirtualMachine until a watcher sees Succeeded`,
    figures: ratios(rounds),
  }];
}

function ratios(rounds: readonly Round[]) {
  return [
    ratioOf("of the time of virsh migrate", rounds.map(({ total }) => total), { atMost: TOTAL_RATIO, baseline: "virsh" }),
    ratioOf("of the guest's downtime", rounds.map(({ downtime }) => downtime), { atMost: DOWNTIME_RATIO, baseline: "virsh" }),
    figure("downtime in the migration's record, p50", quantile(rounds.map(({ recordedMs }) => recordedMs), 0.5), "ms"),
  ];
}

type Hooks = { watching?: (() => Disposable) | undefined; after?: (sides: Sides, theirs: Move) => Promise<void> };

/** One migration of each side in each pair, Drover first in every other one; the first pair is not counted. */
async function compare(machine: VirtualMachine, { pairs, say }: Pick<Settings, "pairs" | "say">, { watching, after }: Hooks = {}): Promise<Round[]> {
  await using fleet = await Fleet.start({ apiServer: { logLevel: "info" }, controller: { logLevel: "info" } });
  using plane = await ControlPlane.open(fleet.unixServer);
  await using a = await DirectHost.open(fleet.lab.host("a"));
  await using b = await DirectHost.open(fleet.lab.host("b"));
  const directs = [a, b];
  await plane.create(machine);
  const twins = await bootTwins(fleet, plane, { name: NAME, directs });
  const sides: Sides = { plane, directs, twins, names: await qemuNames(plane, directs) };
  const rounds: Round[] = [];
  for (let index = 0; index <= pairs; index++) {
    // Looking at every process costs the side that is looked at, so it is done in the pair that does not count.
    const { our, their } = await movePair(sides, { oursFirst: index % 2 === 0, watching: index === 0 ? watching : undefined });
    say(`migrate ${index}/${pairs}: ${our.totalMs.toFixed(0)} ms (down ${our.downtimeMs}), virsh ${their.totalMs.toFixed(0)} ms (down ${their.downtimeMs})`);
    await after?.(sides, their);
    if (index === 0) continue;
    rounds.push({
      total: { ours: our.totalMs, theirs: their.totalMs },
      downtime: { ours: our.downtimeMs, theirs: their.downtimeMs },
      recordedMs: our.recordedMs,
      encryptedRate: their.mibPerSecond,
    });
  }
  return rounds;
}

async function movePair({ plane, directs, twins, names }: Sides, { oursFirst, watching }: { oursFirst: boolean } & Pick<Hooks, "watching">) {
  const moveOne = async () => {
    using _watched = watching?.();
    const ours = await moveOurs(plane, twins, await endsOf(directs, twins.ours));
    await delay(systemClock, SETTLE_MS);
    return ours;
  };
  const early = oursFirst ? await moveOne() : undefined;
  const ends = await endsOf(directs, twins.theirs);
  const their = await moveTheirs(twins, ends, encryptedFor(names, ends));
  await delay(systemClock, SETTLE_MS);
  return { our: early ?? (await moveOne()), their };
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
