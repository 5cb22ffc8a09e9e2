/** Gathers what the decision about one instance's migrations is made on. */
import { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import type { MigrationPhase } from "../../gen/drover/v1/migration.ts";
import { VirtualMachineInstanceMigrationSpec, VirtualMachineInstanceMigrationStatus } from "../../gen/drover/v1/migration.ts";
import type { MigrationOptions } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { MigrationForecast } from "../../gen/drover/v1/preflight.ts";
import { demandOf } from "../../lib/capacity.ts";
import { copiedBytes } from "../../lib/disk-transfer.ts";
import { forecastMove } from "../../lib/forecast-history.ts";
import { resolvePolicy } from "../../lib/migration-policy.ts";
import { choose } from "../../lib/preflight/choose.ts";
import type { Placement } from "../../lib/preflight/choose.ts";
import { quantityBytes } from "../../lib/quantity.ts";
import type { Context } from "../context.ts";
import { foreignVolume } from "../instance/volumes.ts";
import { snapshotFor } from "../instance/observe.ts";
import type { Instance, Migration } from "../objects.ts";
import { copiedDisks, occupiedImages } from "./copies.ts";
import type { Observed } from "./decide.ts";
import type { Evidence } from "./facts.ts";
import { byAge, hasEnded, isOpen, isWaiting } from "./story.ts";

export function observe(key: string, context: Context): Observed {
  const { instances, migrations, machines } = context.caches;
  const instance = instances.get(key);
  const mine = migrations.by("instance", key);
  return {
    instance,
    migrations: mine,
    machineExists: machines.get(key) !== undefined,
    ...orphanOf(instance, mine, context),
    evidence: (migration) => evidenceOf(migration, { instance, mine, context }),
    seen: (migration, phase) => context.stopwatch.firstSeen(subject(migration, phase)),
    now: context.clock.now(),
  };
}

const subject = ({ metadata }: Migration, phase: MigrationPhase): string => `migration/${metadata.uid}/${phase}`;

function evidenceOf(migration: Migration, { instance, mine, context }: { instance: Instance | undefined; mine: readonly Migration[]; context: Context }): Evidence {
  const open = instance?.status.migration;
  const grant = open?.uid === migration.metadata.uid ? open : undefined;
  const waits = !grant && isWaiting(migration);
  const place = waits ? context.places.of(migration) : 0;
  const target = waits && place === 0 && instance ? targetFor(migration, instance, context) : undefined;
  return {
    migration,
    instance,
    grant,
    behind: mine.some((other) => isOpen(other) && byAge(other, migration) < 0),
    place,
    hold: place > 0 ? context.places.holdOf(migration) : undefined,
    expectedStart: () => context.places.expectedStart(migration),
    target,
    options: () => optionsFor(migration, instance, { context, targetNode: target?.chosen?.name }),
    forecast: () => (grant?.options && instance ? forecastFor(instance, grant.targetNode, { options: grant.options, context }) : undefined),
    node: (name) => context.caches.nodes.get(name),
    volume: (name) => context.caches.volumes.get(name),
    elapsedMs: (phase) => context.stopwatch.elapsedMs(subject(migration, phase)),
    budgets: context.limits.migrations.budgets,
  };
}

function targetFor(migration: Migration, instance: Instance, context: Context): Placement {
  const { spec, status } = instance;
  // A link without room is for the scheduler as full as a node that nothing more may come to.
  const snapshot = snapshotFor(instance, context).map((candidate) =>
    context.places.canReceive(candidate.name, migration) ? candidate : { ...candidate, inbound: Infinity });
  return choose(snapshot, {
    instance: spec,
    hardware: status.hardware,
    demand: demandOf(spec),
    purpose: "migrate",
    sourceNode: context.caches.nodes.get(status.nodeName),
    targetNode: migration.spec.targetNode,
    addedNodeSelector: migration.spec.addedNodeSelector,
    inboundPerNode: context.limits.migrations.inboundPerNode,
    occupied: (node) => occupiedOn(instance, node.metadata?.name ?? "", context),
  });
}

type Known = Pick<Context, "caches" | "limits">;
type Going = { context: Known; targetNode: string | undefined };

/** The limit for the whole is never below twice what the move is expected to take, by what the rest of the options allow. */
export function optionsFor({ metadata, spec }: Migration, instance: Instance | undefined, { context, targetNode }: Going): MigrationOptions {
  const { caches, limits } = context;
  const question = {
    policies: caches.policies.list(),
    namespaceLabels: caches.namespaces.get(metadata.namespace)?.metadata.labels ?? {},
    instanceLabels: instance?.metadata.labels ?? {},
    spec,
    bytes: instance ? quantityBytes(instance.spec.domain.memory.guest) + sentAlong(instance, targetNode, context) : 0,
    defaults: limits.migrations.defaults,
  };
  const { options } = resolvePolicy(question);
  if (!instance || targetNode === undefined) return options;
  const { durationMs, converges } = forecastFor(instance, targetNode, { options, context });
  return converges ? resolvePolicy({ ...question, forecastMs: durationMs }).options : options;
}

function forecastFor(instance: Instance, targetNode: string, { options, context }: { options: MigrationOptions; context: Known }): MigrationForecast {
  return forecastMove({
    instance, targetNode, options,
    diskBytes: sentAlong(instance, targetNode, context),
    past: context.caches.migrations.list(),
  });
}

/** Bytes of the disks that the two nodes do not share. */
function sentAlong({ spec, status }: Instance, targetNode: string | undefined, { caches: { nodes } }: Known): number {
  return copiedBytes(spec, { source: nodes.get(status.nodeName)?.status.report, target: nodes.get(targetNode ?? "")?.status.report });
}

export function occupiedOn(instance: Instance, node: string, { caches }: Context): string[] {
  const [source, target] = [caches.nodes.get(instance.status.nodeName), caches.nodes.get(node)];
  if (!target) return [];
  const find = (name: string) => caches.volumes.get(name);
  // What is only read is not copied, so the target's own file of that name would be read: it may be another namespace's.
  const foreign = foreignVolume(instance, target, find);
  return [...occupiedImages(instance, { copied: copiedDisks(instance, { source, target }), find }), ...(foreign ? [foreign.spec.image] : [])];
}

/** The record of a migration under way was deleted: that asks to end it, and its outcome must still be found. */
function orphanOf(instance: Instance | undefined, mine: readonly Migration[], { stopwatch, limits }: Context): Pick<Observed, "orphan" | "orphanInMs"> {
  const grant = instance?.status.migration;
  if (!instance || !grant || mine.some(({ metadata, status }) => metadata.uid === grant.uid && !hasEnded(status.phase))) return {};
  const leftMs = limits.migrations.budgets.orphanAfterMs - stopwatch.elapsedMs(`orphan/${grant.uid}`);
  if (leftMs > 0) return { orphanInMs: leftMs };
  const { namespace, name } = instance.metadata;
  return {
    orphan: {
      metadata: ObjectMeta.create({ namespace, name: grant.name, uid: grant.uid, generation: 1 }),
      spec: VirtualMachineInstanceMigrationSpec.create({ vmiName: name, targetNode: grant.targetNode }),
      status: VirtualMachineInstanceMigrationStatus.create({ cancelRequested: true, sourceNode: grant.sourceNode, targetNode: grant.targetNode }),
    },
  };
}
