/**
 * Start, against define and create of the same domain by the same binding; and Stop by force, against virsh. Preparing
 * disks is no part of what libvirt does either, so the machine that is held to the bounds has none; one with a disk,
 * whose image is looked into before each start, stands beside it.
 */
import { Fleet } from "../test/lab/fleet.ts";
import { copyOf, DirectHost } from "./baseline.ts";
import { ControlPlane } from "./control-plane.ts";
import { figure, overheadOf, ratioOf } from "./figure.ts";
import type { Report } from "./figure.ts";
import { guestMachine } from "./machines.ts";
import type { Settings } from "./settings.ts";
import { quantile } from "./statistics.ts";
import type { Pair } from "./statistics.ts";

const START_P50_MS = 50;
const START_P95_MS = 150;
const STOP_RATIO = 1.15;

type Scene = { plane: ControlPlane; direct: DirectHost };
/** A machine of Drover's and libvirt's own copy of it. */
type Twins = { name: string; copy: { xml: string; uuid: string }; firstMs: number };
type Round = { start: Pair; stop: Pair; settledMs: number };

export async function benchStart({ pairs, say }: Settings): Promise<Report[]> {
  await using fleet = await Fleet.start({ hosts: ["a"], apiServer: { logLevel: "info" }, controller: { logLevel: "info" } });
  using plane = await ControlPlane.open(fleet.unixServer);
  await using direct = await DirectHost.open(fleet.lab.host("a"));
  const scene = { plane, direct };
  const plain = await makeTwins(scene, { name: "bench-plain", hasDisk: false });
  const disk = await makeTwins(scene, { name: "bench-disk", hasDisk: true });
  const rounds: Record<"plain" | "disk", Round[]> = { plain: [], disk: [] };
  for (let index = 0; index <= pairs; index++) {
    for (const [kind, twins] of [["plain", plain], ["disk", disk]] as const) {
      const round = await play(scene, twins, { oursFirst: index % 2 === 0 });
      say(`start ${index}/${pairs} ${kind}: ${round.start.ours.toFixed(0)} ms, libvirt ${round.start.theirs.toFixed(0)} ms; stop ${round.stop.ours.toFixed(0)} ms, virsh ${round.stop.theirs.toFixed(0)} ms`);
      if (index > 0) rounds[kind].push(round); // The first one warms both up.
    }
  }
  return report(rounds, disk.firstMs);
}

async function makeTwins({ plane, direct }: Scene, { name, hasDisk }: { name: string; hasDisk: boolean }): Promise<Twins> {
  await plane.create(guestMachine(name, { hasDisk }));
  const { tookMs, instance } = await plane.start(name);
  const xml = await direct.hypervisor.xml(instance.spec!.domain!.firmware!.uuid, "inactive");
  const copy = copyOf(xml, { hosts: [direct.host], name: `${name}-alone` });
  await plane.stop(name, { force: true });
  return { name, copy, firstMs: tookMs };
}

/** Who goes first alternates, so that neither always finds the caches warm. */
async function play(scene: Scene, twins: Twins, { oursFirst }: { oursFirst: boolean }): Promise<Round> {
  const ours = oursFirst ? await playOurs(scene, twins) : undefined;
  const theirs = await playTheirs(scene, twins);
  const { startMs, endedMs, settledMs } = ours ?? (await playOurs(scene, twins));
  return { start: { ours: startMs, theirs: theirs.startMs }, stop: { ours: endedMs, theirs: theirs.stopMs }, settledMs };
}

async function playOurs({ plane }: Scene, { name }: Twins): Promise<{ startMs: number; endedMs: number; settledMs: number }> {
  const { tookMs } = await plane.start(name);
  return { startMs: tookMs, ...(await plane.stop(name, { force: true })) };
}

async function playTheirs({ direct }: Scene, { copy }: Twins): Promise<{ startMs: number; stopMs: number }> {
  const { tookMs, uuid } = await direct.start(copy.xml);
  return { startMs: tookMs, stopMs: await direct.virsh(`destroy ${uuid}`, `undefine ${uuid}`) };
}

function report({ plain, disk }: Record<"plain" | "disk", Round[]>, firstMs: number): Report[] {
  const starts = plain.map(({ start }) => start);
  const stops = plain.map(({ stop }) => stop);
  const baseline = "libvirt alone";
  return [
    {
      title: "Start: StartVirtualMachine until a watcher sees Running",
      figures: [
        overheadOf("overhead over define + create, p50", starts, { part: 0.5, atMost: START_P50_MS, baseline }),
        overheadOf("overhead over define + create, p95", starts, { part: 0.95, atMost: START_P95_MS, baseline }),
        ratioOf("of the time that libvirt needs alone", starts, { baseline }),
        overheadOf("with a disk whose image is inspected, overhead p50", disk.map(({ start }) => start), { part: 0.5, baseline }),
        figure("with a disk that is made first", firstMs, "ms"),
      ],
    },
    {
      title: "Stop by force: StopVirtualMachine until a watcher sees that the run has ended",
      figures: [
        ratioOf("of the time of virsh destroy + undefine", stops, { atMost: STOP_RATIO, baseline: "virsh" }),
        figure("until the run's record is gone too, p50", quantile(plain.map(({ settledMs }) => settledMs), 0.5), "ms"),
      ],
    },
  ];
}
