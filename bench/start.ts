/**
 * Start, against define and create of the same domain by the same binding; and Stop by force, against virsh. Both
 * machines are prepared before: what making a disk costs is measured apart.
 */
import { DirectHost, copyOf } from "./baseline.ts";
import { ControlPlane } from "./control-plane.ts";
import { figure, overheadOf, ratioOf } from "./figure.ts";
import type { Report } from "./figure.ts";
import { guestMachine } from "./machines.ts";
import type { Settings } from "./settings.ts";
import { quantile } from "./statistics.ts";
import type { Pair } from "./statistics.ts";
import { Fleet } from "../test/lab/fleet.ts";

const START_P50_MS = 50;
const START_P95_MS = 150;
const STOP_RATIO = 1.15;
const NAME = "bench-start";

type Scene = { plane: ControlPlane; direct: DirectHost; copy: { xml: string; uuid: string } };
type Round = { start: Pair; stop: Pair; settledMs: number };

export async function benchStart({ pairs, say }: Settings): Promise<Report[]> {
  await using fleet = await Fleet.start({ hosts: ["a"], apiServer: { logLevel: "info" }, controller: { logLevel: "info" } });
  using plane = await ControlPlane.open(fleet.unixServer);
  await using direct = await DirectHost.open(fleet.lab.host("a"));
  await plane.create(guestMachine(NAME));
  const first = await plane.start(NAME);
  const uuid = first.instance.spec!.domain!.firmware!.uuid;
  const copy = copyOf(await direct.hypervisor.xml(uuid, "inactive"), { hosts: [direct.host], name: "libvirt-alone" });
  await plane.stop(NAME, { force: true });
  const rounds: Round[] = [];
  for (let index = 0; index <= pairs; index++) {
    const round = await play({ plane, direct, copy }, index % 2 === 0);
    say(`start ${index}/${pairs}: ${round.start.ours.toFixed(0)} ms, libvirt ${round.start.theirs.toFixed(0)} ms; stop ${round.stop.ours.toFixed(0)} ms, virsh ${round.stop.theirs.toFixed(0)} ms`);
    if (index > 0) rounds.push(round); // The first one warms both up.
  }
  return report(rounds, first.tookMs);
}

/** Who goes first alternates, so that neither always finds the caches warm. */
async function play(scene: Scene, oursFirst: boolean): Promise<Round> {
  const ours = oursFirst ? await playOurs(scene) : undefined;
  const theirs = await playTheirs(scene);
  const { startMs, endedMs, settledMs } = ours ?? (await playOurs(scene));
  return { start: { ours: startMs, theirs: theirs.startMs }, stop: { ours: endedMs, theirs: theirs.stopMs }, settledMs };
}

async function playOurs({ plane }: Scene): Promise<{ startMs: number; endedMs: number; settledMs: number }> {
  const { tookMs } = await plane.start(NAME);
  return { startMs: tookMs, ...(await plane.stop(NAME, { force: true })) };
}

async function playTheirs({ direct, copy }: Scene): Promise<{ startMs: number; stopMs: number }> {
  const { tookMs, uuid } = await direct.start(copy.xml);
  return { startMs: tookMs, stopMs: await direct.virsh(`destroy ${uuid}`, `undefine ${uuid}`) };
}

function report(rounds: readonly Round[], firstMs: number): Report[] {
  const starts = rounds.map(({ start }) => start);
  const stops = rounds.map(({ stop }) => stop);
  const baseline = "libvirt alone";
  return [
    {
      title: "Start: StartVirtualMachine until a watcher sees Running",
      figures: [
        overheadOf("overhead over define + create, p50", starts, { part: 0.5, atMost: START_P50_MS, baseline }),
        overheadOf("overhead over define + create, p95", starts, { part: 0.95, atMost: START_P95_MS, baseline }),
        ratioOf("of the time that libvirt needs alone", starts, { baseline }),
        figure("first start, with a new disk to make", firstMs, "ms"),
      ],
    },
    {
      title: "Stop by force: StopVirtualMachine until a watcher sees that the run has ended",
      figures: [
        ratioOf("of the time of virsh destroy + undefine", stops, { atMost: STOP_RATIO, baseline: "virsh" }),
        figure("until the run's record is gone too, p50", quantile(rounds.map(({ settledMs }) => settledMs), 0.5), "ms"),
      ],
    },
  ];
}
