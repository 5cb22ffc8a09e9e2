/**
 * KubeVirt's density shape on two real hosts: minimal machines, created at a pace that the hosts cannot hold, against
 * the same arrivals sent straight to libvirt by the same binding with as many lanes.
 */
import { RunStrategy } from "../gen/drover/v1/virtual_machine.ts";
import { Fleet } from "../test/lab/fleet.ts";
import { nameOf, signalPid } from "../test/lab/proc-table.ts";
import { arrive, ARRIVAL_EVERY_MS } from "./arrivals.ts";
import { copyOf, DirectHost } from "./baseline.ts";
import { ControlPlane } from "./control-plane.ts";
import { createCrowd, deleteCrowd } from "./crowd.ts";
import { figure, ratioOf } from "./figure.ts";
import type { Report } from "./figure.ts";
import { bareMachine } from "./machines.ts";
import { overcommit } from "./overcommit.ts";
import type { Settings } from "./settings.ts";
import { median, quantile } from "./statistics.ts";
import type { Pair } from "./statistics.ts";

const MACHINES = 100;
const QUICK_MACHINES = 16;
const WARM_UP_MACHINES = 10;
const RATIO = 1.1;
const MODEL = "model";

type Round = { p50: Pair; p95: Pair; updates: number[] };

export async function benchDensity({ pairs, quick, say }: Settings): Promise<Report[]> {
  const count = quick ? QUICK_MACHINES : MACHINES;
  await using fleet = await Fleet.start({
    apiServer: { logLevel: "info" },
    controller: { logLevel: "info" },
  });
  await overcommit(fleet.unixServer);
  using plane = await ControlPlane.open(fleet.unixServer);
  await using a = await DirectHost.open(fleet.lab.host("a"));
  await using b = await DirectHost.open(fleet.lab.host("b"));
  const hosts = [a, b];
  const copies = await makeCopies(plane, hosts, count);
  // Programs that run for weeks are not measured in their first seconds.
  await ours(plane, hosts, { count: WARM_UP_MACHINES, round: "warm" });
  await direct(hosts, copies.slice(0, WARM_UP_MACHINES));
  const rounds: Round[] = [];
  for (let index = 0; index < pairs; index++) {
    const round = String(index);
    const early = index % 2 === 0 ? await ours(plane, hosts, { count, round }) : undefined;
    const theirs = await direct(hosts, copies);
    const { timesMs, updates } = early ?? (await ours(plane, hosts, { count, round }));
    const pair = (part: number): Pair => ({ ours: quantile(timesMs, part), theirs: quantile(theirs, part) });
    rounds.push({ p50: pair(0.5), p95: pair(0.95), updates });
    const { p50, p95 } = rounds.at(-1)!;
    say(`density ${index + 1}/${pairs}: p50 ${p50.ours.toFixed(0)} ms, libvirt ${p50.theirs.toFixed(0)} ms; p95 ${p95.ours.toFixed(0)} ms, libvirt ${p95.theirs.toFixed(0)} ms`);
  }
  return report(rounds, count);
}

type Hosts = readonly DirectHost[];

/** Once, so that none of them comes back when they end. */
async function ours(plane: ControlPlane, hosts: Hosts, { count, round }: { count: number; round: string }): Promise<{ timesMs: number[]; updates: number[] }> {
  const { names, timesMs, updates } = await createCrowd(plane, { count, everyMs: ARRIVAL_EVERY_MS, prefix: `crowd-${round}`, runStrategy: RunStrategy.ONCE });
  killGuests(hosts);
  await deleteCrowd(plane, names);
  return { timesMs, updates };
}

/** The agents run on, warm, and leave these domains alone as anybody's but Drover's. */
async function direct(hosts: Hosts, copies: readonly { xml: string; uuid: string }[]): Promise<number[]> {
  const times = await arrive(copies.length, ARRIVAL_EVERY_MS, async (index) => {
    const { tookMs } = await hosts[index % hosts.length]!.start(copies[index]!.xml);
    return tookMs;
  });
  killGuests(hosts);
  await Promise.all(copies.map(({ uuid }, index) => hosts[index % hosts.length]!.remove(uuid)));
  return times;
}

/** libvirt ends one guest after the other, while the others take the processors from it: that would be a third of a pair. */
function killGuests(hosts: Hosts): void {
  for (const pid of hosts.flatMap(({ host }) => host.pids())) if (nameOf(pid)?.startsWith("qemu-system")) signalPid(pid, "SIGKILL");
}

/** All from one domain that Drover made, so that both start the same. */
async function makeCopies(plane: ControlPlane, hosts: Hosts, count: number): Promise<{ xml: string; uuid: string }[]> {
  await plane.create(bareMachine({ name: MODEL, runStrategy: RunStrategy.MANUAL, memory: "64Mi" }));
  const { instance } = await plane.start(MODEL);
  const home = hosts.find(({ host }) => host.name === instance.status!.nodeName)!;
  const xml = await home.hypervisor.xml(instance.spec!.domain!.firmware!.uuid, "inactive");
  await plane.stop(MODEL, { force: true });
  await plane.delete(MODEL);
  return Array.from({ length: count }, (_, index) => copyOf(xml, { hosts: hosts.map(({ host }) => host), name: `alone-${index}` }));
}

function report(rounds: readonly Round[], count: number): Report[] {
  const p50 = rounds.map((round) => round.p50);
  const p95 = rounds.map((round) => round.p95);
  const updates = rounds.flatMap((round) => round.updates);
  const baseline = "libvirt alone";
  return [{
    title: `Density on two emulated hosts: ${count} machines of 64 MiB, ${ARRIVAL_EVERY_MS} ms apart, creation until Running`,
    figures: [
      ratioOf("p50, of libvirt alone with the same arrivals", p50, { atMost: RATIO, baseline }),
      ratioOf("p95, of libvirt alone with the same arrivals", p95, { atMost: RATIO, baseline }),
      figure("creation until Running, p50", median(p50.map(({ ours }) => ours)), "ms"),
      figure("creation until Running, p95", median(p95.map(({ ours }) => ours)), "ms"),
      figure("updates of each instance until Running, p50", quantile(updates, 0.5), ""),
      figure("updates of each instance until Running, most", Math.max(...updates), ""),
    ],
  }];
}
