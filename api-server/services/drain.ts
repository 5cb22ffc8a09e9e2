/** Plans a node's drain from what the server has in memory, and records it for the controller to carry out. */
import type { VirtualMachineInstanceMigration } from "../../gen/drover/v1/migration.ts";
import { DrainAction, DrainReason } from "../../gen/drover/v1/node.ts";
import type { DrainNodeRequest, DrainPlan, Node, NodeServiceImplementation, PlanDrainRequest } from "../../gen/drover/v1/node.ts";
import type { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { Clock } from "../../lib/clock.ts";
import { planDrain, together } from "../../lib/drain/plan.ts";
import type { OpenMigration } from "../../lib/drain/plan.ts";
import { DRAIN_LABEL, isDraining, itemsOf } from "../../lib/drain/record.ts";
import { copiedBytes } from "../../lib/disk-transfer.ts";
import { PermissionDenied } from "../../lib/errors.ts";
import { forecaster } from "../../lib/forecast-history.ts";
import { takeSnapshot } from "../../lib/preflight/candidate.ts";
import { loadsOf, nodesOf } from "../../lib/preflight/load.ts";
import { SLOTS } from "../../lib/preflight/slots.ts";
import type { Random } from "../../lib/random.ts";
import type { Authorizer } from "../auth/authorizer.ts";
import { metaOf } from "../kinds/kind.ts";
import { migrationPolicies } from "../kinds/migration-policy.ts";
import { migrations } from "../kinds/migration.ts";
import { nodes } from "../kinds/node.ts";
import { virtualMachines } from "../kinds/virtual-machine.ts";
import { allOf } from "../objects.ts";
import type { Call, Objects, WithCall } from "../objects.ts";
import type { Assignments } from "../sessions/assignments.ts";
import { drained, keyOf, stopsAllowed } from "../subresources/drain.ts";
import { isOpen } from "../subresources/migrate.ts";
import { runOf } from "../subresources/power.ts";
import { policyFor } from "./migration-check.ts";

type Verbs = Pick<NodeServiceImplementation<WithCall>, "planDrain" | "drainNode">;
export type DrainParts = { objects: Objects; assignments: Pick<Assignments, "all">; rights: Pick<Authorizer, "decide">; plans: SeenPlans; clock: Clock; random: Random };

export function drainVerbs(parts: DrainParts): Verbs {
  const { objects, plans, clock, random } = parts;
  return {
    async planDrain(request) {
      const plan = await planFor(parts, request);
      plans.remember(plan);
      return { plan };
    },
    async drainNode(request, { call }) {
      const replayed = await objects.replayed(nodes, call);
      if (replayed) return { node: replayed };
      const plan = await planFor(parts, request);
      await mayStop(parts, plan, call);
      const { name, planId } = request;
      const drain = { plan, planId, uid: random.uuid(), subject: call.caller.subject, now: clock.now(), seen: plans.recall(planId) };
      return { node: await objects.change(nodes, { name }, (node) => drained(node, drain), call) };
    },
  };
}

type Asked = Pick<PlanDrainRequest & DrainNodeRequest, "name" | "allowStop" | "allowStopAll">;

async function planFor(parts: DrainParts, { name, allowStop, allowStopAll }: Asked): Promise<DrainPlan> {
  const { objects, assignments } = parts;
  const node = await objects.get(nodes, { name });
  const everywhere = assignments.all();
  const here = everywhere.filter((instance) => nodesOf(instance).includes(name));
  const [fleet, moves, machines] = await Promise.all([allOf(objects, nodes), allOf(objects, migrations), machinesOf(objects, here)]);
  const open = new Map<string, OpenMigration>(moves.filter(isOpen).map(({ metadata, spec, status }) => [
    `${metadata!.namespace}/${spec!.vmiName}`,
    { name: metadata!.name, targetNode: status?.targetNode || spec!.targetNode, own: metadata!.labels[DRAIN_LABEL] === metaOf(node).uid },
  ]));
  const plan = planDrain(here, takeSnapshot(fleet, { loadOn: loadsOf(everywhere) }), {
    node,
    open: (instance) => open.get(keyOf(instance)),
    runStrategy: (instance) => machines.get(metaOf(instance).uid)?.spec?.runStrategy,
    stopAllowed: stopsAllowed(here, { allowStop, allowStopAll }),
    preferred: (instance) => (isDraining(node) ? itemsOf(node).find(({ uid }) => uid === metaOf(instance).uid)?.targetNode : undefined),
  });
  return withForecasts(parts, plan, { here, node, fleet, past: moves });
}

type Known = { here: readonly VirtualMachineInstance[]; node: Node; fleet: readonly Node[]; past: readonly VirtualMachineInstanceMigration[] };

/** How long each move is expected to take, and all of them together. */
async function withForecasts({ objects }: DrainParts, plan: DrainPlan, { here, node, fleet, past }: Known): Promise<DrainPlan> {
  const forecastMove = forecaster(past);
  const policies = await allOf(objects, migrationPolicies);
  const items = await Promise.all(plan.items.map(async (item) => {
    const instance = here.find(({ metadata }) => metadata!.uid === item.uid);
    if (item.action !== DrainAction.MIGRATE || !instance) return item;
    const target = fleet.find(({ metadata }) => metadata!.name === item.targetNode);
    const { options } = await policyFor(instance, policies, objects);
    const diskBytes = copiedBytes(instance.spec!, { source: node.status?.report, target: target?.status?.report });
    return { ...item, forecast: forecastMove({ instance, targetNode: item.targetNode, diskBytes, options }) };
  }));
  return { ...plan, items, durationMs: together(items.flatMap(({ forecast }) => forecast?.durationMs ?? []), SLOTS.outboundPerNode) };
}

/** Whose runs they are, by the run's uid. */
async function machinesOf(objects: Objects, instances: readonly VirtualMachineInstance[]): Promise<Map<string, VirtualMachine>> {
  const found = await Promise.all(instances.map(async (instance) => {
    const { namespace, name } = metaOf(instance);
    return [instance, await objects.find(virtualMachines, { namespace, name })] as const;
  }));
  return new Map(found.flatMap(([instance, vm]) => (vm && runOf(vm, instance) ? [[metaOf(instance).uid, vm]] : [])));
}

/** A drain stops no machine that its caller could not stop by hand, but where the machine's owner allowed it. */
async function mayStop({ rights }: DrainParts, { items }: DrainPlan, { caller }: Call): Promise<void> {
  for (const { namespace, name } of items.filter((item) => item.reason === DrainReason.STOP_ALLOWED)) {
    const { allowed } = await rights.decide(caller, { verb: "stop", kind: "VirtualMachine", namespace, name });
    if (!allowed) throw new PermissionDenied(`"${caller.subject}" may not stop VirtualMachine "${namespace}/${name}"`, { reason: "STOP_NOT_ALLOWED" });
  }
}

const REMEMBERED_MAX = 64;

/** The latest plans that were shown, by whichever listener, so that a refused drain can say what has changed since. Losing one loses that alone. */
export class SeenPlans {
  readonly #plans = new Map<string, DrainPlan>();

  remember(plan: DrainPlan): void {
    this.#plans.delete(plan.id);
    this.#plans.set(plan.id, plan);
    for (const id of this.#plans.keys()) {
      if (this.#plans.size <= REMEMBERED_MAX) return;
      this.#plans.delete(id);
    }
  }

  recall(id: string): DrainPlan | undefined {
    return this.#plans.get(id);
  }
}
