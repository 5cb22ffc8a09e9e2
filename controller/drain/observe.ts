/** Gathers what the decision about one node's drain is made on. */
import { DrainAction, DrainItemState } from "../../gen/drover/v1/node.ts";
import type { DrainItemProgress } from "../../gen/drover/v1/node.ts";
import { demandOf } from "../../lib/capacity.ts";
import { planItem, targetOf } from "../../lib/drain/plan.ts";
import type { Around } from "../../lib/drain/plan.ts";
import { isDraining } from "../../lib/drain/record.ts";
import { booked, takeSnapshot } from "../../lib/preflight/candidate.ts";
import type { Snapshot } from "../../lib/preflight/candidate.ts";
import type { Context } from "../context.ts";
import { occupiedOn } from "../migration/observe.ts";
import { isOpen } from "../migration/story.ts";
import { keyOf } from "../objects.ts";
import type { Instance, NodeRecord } from "../objects.ts";
import { owns } from "../virtual-machine/decide.ts";
import type { Observed } from "./decide.ts";
import type { Evidence } from "./facts.ts";
import { attemptName, failedAttempts, isOfDrain, latestAttempt } from "./migration.ts";

type Drained = { node: NodeRecord; drain: NonNullable<NodeRecord["status"]["drain"]>; context: Context };
type Before = readonly DrainItemProgress[];

export function observe(key: string, context: Context): Observed | undefined {
  const node = context.caches.nodes.get(key);
  const drain = node?.status.drain;
  if (!node || !drain || !isDraining(node)) return undefined;
  const drained = { node, drain, context };
  return {
    node,
    drain,
    instances: context.caches.instances.by("node", key).toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)),
    evidence: (item, before) => evidenceOf(item, before, drained),
    plan: (instance, before) => planItem(instance, roomBehind(before, drained), { ...around(drained), unseen: true }),
    now: context.clock.now(),
  };
}

function evidenceOf(held: DrainItemProgress, before: Before, drained: Drained): Evidence {
  const { node, drain, context } = drained;
  const { instances, migrations } = context.caches;
  const named = instances.get(`${held.namespace}/${held.name}`);
  const instance = named?.metadata.uid === held.uid ? named : undefined;
  const mine = instance ? migrations.by("instance", keyOf(instance)) : [];
  const migration = mine.find(isOpen);
  const latest = latestAttempt(mine, held, drain);
  const item = latest ? { ...held, migration: latest.migration.metadata.name, attempts: latest.number } : held;
  const subject = `drain/${drain.uid}/${held.uid}`;
  const givenUp = failedAttempts(mine, held, drain) >= ATTEMPTS_MAX;
  const target = once(() => (instance ? targetFor(instance, before, { held, givenUp, drained }) : { target: undefined, why: "" }));
  return {
    item,
    node,
    instance,
    migration,
    own: migration !== undefined && isOfDrain(migration, node),
    latest: latest?.migration,
    refusal: context.refusals.of(`${held.namespace}/${attemptName(item, drain, item.attempts + 1)}`),
    givenUp,
    target: () => ({ name: target().target, why: target().why }),
    othersFirst: before.some(isLeaving),
    lostMs: () => context.stopwatch.elapsedMs(`${subject}/lost/${held.targetNode}/${item.attempts}`),
    failedMs: () => context.stopwatch.elapsedMs(`${subject}/failed/${item.attempts}`),
  };
}

/** To one target while there are others. */
const ATTEMPTS_MAX = 3;

type Seeking = { held: DrainItemProgress; givenUp: boolean; drained: Drained };

function targetFor(instance: Instance, before: Before, { held, givenUp, drained }: Seeking): ReturnType<typeof targetOf> {
  const room = roomBehind(before, drained);
  const kept = { ...around(drained), preferred: () => held.targetNode };
  const others = givenUp ? targetOf(instance, room.filter(({ name }) => name !== held.targetNode), kept) : undefined;
  return others?.target === undefined ? targetOf(instance, room, kept) : others;
}

const isLeaving = ({ action, state }: DrainItemProgress): boolean =>
  action === DrainAction.MIGRATE && (state === DrainItemState.PENDING || state === DrainItemState.RUNNING);

/** What those before it have not taken yet counts as taken; what they have is in the load. */
function roomBehind(before: Before, { context }: Drained): Snapshot<NodeRecord> {
  const { caches, load } = context;
  const snapshot = takeSnapshot(caches.nodes.list(), { loadOn: (name) => load.on(name) });
  return before
    .filter(({ action, state }) => action === DrainAction.MIGRATE && state === DrainItemState.PENDING)
    .reduce((room, { namespace, name, targetNode }) => booked(room, targetNode, demandOf(caches.instances.get(`${namespace}/${name}`)?.spec)), snapshot);
}

function around({ node, context }: Drained): Around {
  const { machines, migrations } = context.caches;
  return {
    node,
    open(instance) {
      const open = migrations.by("instance", keyOf(instance as Instance)).find(isOpen);
      return open && { name: open.metadata.name, targetNode: open.status.targetNode || open.spec.targetNode, own: isOfDrain(open, node) };
    },
    runStrategy(instance) {
      const machine = machines.get(keyOf(instance as Instance));
      return machine && owns(machine, instance as Instance) ? machine.spec.runStrategy : undefined;
    },
    stopAllowed: () => false,
    occupied: (instance, target) => occupiedOn(instance as Instance, target.metadata?.name ?? "", context),
  };
}

function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}
