/** KubeVirt's density shape through the API: machines created at a pace, each timed from its creation to Running. */
import { RunStrategy } from "../gen/drover/v1/virtual_machine.ts";
import { Phase } from "../gen/drover/v1/virtual_machine_instance.ts";
import { systemClock } from "../lib/clock.ts";
import { arrive } from "./arrivals.ts";
import { named } from "./control-plane.ts";
import type { ControlPlane } from "./control-plane.ts";
import { bareMachine } from "./machines.ts";

const RUNNING_TIMEOUT_MS = 300_000;
const DELETIONS_AT_ONCE = 16;

export type Crowd = {
  names: string[];
  /** From the call of Create until the watcher sees Running. */
  timesMs: number[];
  /** Messages that the watcher got for each instance until then. */
  updates: number[];
};

type CrowdOptions = { count: number; everyMs: number; prefix: string; runStrategy?: RunStrategy };

export async function createCrowd(plane: ControlPlane, { count, everyMs, prefix, runStrategy = RunStrategy.ALWAYS }: CrowdOptions): Promise<Crowd> {
  const names = Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
  const updates = new Map(names.map((name) => [name, 0]));
  using _ = plane.instances.each(({ object }) => {
    const name = object.metadata?.name ?? "";
    if (updates.has(name)) updates.set(name, updates.get(name)! + 1);
  });
  const timesMs = await arrive(count, everyMs, async (index) => {
    const name = names[index]!;
    const running = plane.instances.next(`${name} to be Running`, (seen) => named(seen, name) && seen.object.status?.phase === Phase.RUNNING, RUNNING_TIMEOUT_MS);
    const beganMs = systemClock.monotonicMs();
    await plane.create(bareMachine({ name, runStrategy, memory: "64Mi" }));
    return (await running).atMs - beganMs;
  });
  return { names, timesMs, updates: [...updates.values()] };
}

export async function deleteCrowd(plane: ControlPlane, names: readonly string[]): Promise<void> {
  const left = [...names];
  const remover = async () => {
    for (let name = left.pop(); name !== undefined; name = left.pop()) await plane.delete(name);
  };
  await Promise.all(Array.from({ length: DELETIONS_AT_ONCE }, remover));
}
