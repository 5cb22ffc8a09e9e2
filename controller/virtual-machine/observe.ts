/** Gathers what one machine's decision is made on, from caches and this process' own clock. */
import { Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { Context } from "../context.ts";
import { isFenced, isSilent } from "../node/liveness.ts";
import type { Machine } from "../objects.ts";
import { owns } from "./decide.ts";
import type { Observed } from "./decide.ts";

export function observe(key: string, context: Context): Observed | undefined {
  const { machines, instances, migrations, nodes } = context.caches;
  const machine = machines.get(key);
  if (!machine) return undefined;
  const named = instances.get(key);
  const [instance, foreign] = named && owns(machine, named) ? [named, undefined] : [undefined, named];
  const node = instance ? nodes.get(instance.status.nodeName) : undefined;
  const open = instance?.status.migration;
  return {
    machine,
    instance,
    foreign,
    migration: open && migrations.get(`${machine.metadata.namespace}/${open.name}`),
    silent: isSilent(node),
    fenced: isFenced(node),
    waitMs: backOffLeftMs(machine, context),
    ranMs: instance?.status.phase === Phase.RUNNING || instance?.status.reachedRunning ? context.stopwatch.elapsedMs(`ran/${instance.metadata.uid}`) : 0,
    passedMs: (status) => context.stopwatch.elapsedMs(`word/${machine.metadata.uid}/${machine.metadata.resourceVersion}/${status}`),
    fraction: () => context.random.fraction(),
    now: context.clock.now(),
  };
}

/** Counted from when this controller first saw the failure; a verb since then ends it. */
function backOffLeftMs({ metadata, status }: Machine, { stopwatch }: Context): number {
  const { startFailure, lastRun, power } = status;
  if (!startFailure || lastRun?.powerGeneration !== power?.generation) return 0;
  const waitedMs = stopwatch.elapsedMs(`back-off/${metadata.uid}/${startFailure.lastFailedUid}`);
  return Math.max(0, startFailure.retryAfterMs - waitedMs);
}
