/** The control plane's own share: KubeVirt's density shape on agents over libvirt's test driver, and memory with 1,000 machines. */
import { readdirSync, readFileSync } from "node:fs";
import { delay, systemClock } from "../lib/clock.ts";
import { ARRIVAL_EVERY_MS } from "./arrivals.ts";
import { ControlPlane } from "./control-plane.ts";
import { createCrowd } from "./crowd.ts";
import { figure } from "./figure.ts";
import type { Figure, Report } from "./figure.ts";
import { LocalFleet } from "./local-fleet.ts";
import type { Settings } from "./settings.ts";
import { bootstrap, quantile } from "./statistics.ts";

const MACHINES = 100;
const MANY = 1_000;
const QUICK_MANY = 100;
/** Fast enough to be over soon, slow enough not to measure a queue. */
const MANY_EVERY_MS = 40;
const P50_MS = 100;
const P95_MS = 250;
const SETTLE_MS = 2_000;
const MIB_KIB = 1024;

export async function benchShare({ quick, say }: Settings): Promise<Report[]> {
  await using fleet = await LocalFleet.start({ agents: ["a", "b"] });
  using plane = await ControlPlane.open(fleet.unixServer);
  await delay(systemClock, SETTLE_MS);
  const idle = memoryOf(fleet);
  await createCrowd(plane, { count: MACHINES / 5, everyMs: ARRIVAL_EVERY_MS, prefix: "warm" });
  const crowd = await createCrowd(plane, { count: MACHINES, everyMs: ARRIVAL_EVERY_MS, prefix: "crowd" });
  say(`share: p50 ${quantile(crowd.timesMs, 0.5).toFixed(0)} ms, p95 ${quantile(crowd.timesMs, 0.95).toFixed(0)} ms, most ${Math.max(...crowd.timesMs).toFixed(0)} ms`);
  const many = (quick ? QUICK_MANY : MANY) - MACHINES / 5 - MACHINES;
  if (many > 0) await createCrowd(plane, { count: many, everyMs: MANY_EVERY_MS, prefix: "many" });
  await delay(systemClock, SETTLE_MS);
  const full = memoryOf(fleet);
  return [
    {
      title: `Control plane's own share: ${MACHINES} machines, ${ARRIVAL_EVERY_MS} ms apart, on two agents over libvirt's test driver, creation until Running`,
      figures: [
        quantileOf("p50", crowd.timesMs, { part: 0.5, atMost: P50_MS }),
        quantileOf("p95", crowd.timesMs, { part: 0.95, atMost: P95_MS }),
        figure("most", Math.max(...crowd.timesMs), "ms"),
        figure("updates of each instance until Running, p50", quantile(crowd.updates, 0.5), ""),
        figure("updates of each instance until Running, most", Math.max(...crowd.updates), ""),
      ],
    },
    {
      title: `Memory of each program (RSS), idle and with ${Math.max(many, 0) + MACHINES + MACHINES / 5} machines`,
      figures: [...full].map(([name, mebibytes]) => figure(name, mebibytes, "MiB", { note: `idle ${(idle.get(name) ?? NaN).toFixed(0)} MiB` })),
    },
  ];
}

function quantileOf(name: string, samples: readonly number[], { part, atMost }: { part: number; atMost: number }): Figure {
  return { name, unit: "ms", atMost, ...bootstrap(samples, (drawn) => quantile(drawn, part)) };
}

/** Of each program, and of the driver child of each agent. */
function memoryOf(fleet: LocalFleet): Map<string, number> {
  const memory = new Map<string, number>();
  for (const [name, pid] of fleet.pids()) {
    memory.set(name, residentMebibytes(pid));
    for (const child of childrenOf(pid)) memory.set(`${name}, its libvirt driver`, residentMebibytes(child));
  }
  return memory;
}

function residentMebibytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / MIB_KIB;
}

function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").split(" ").filter((id) => id !== "").map(Number));
}
