/** Many machines on hosts whose agents do at once what they are told, over a World; and a drain as the API server makes it. */
import { drained, stopsAllowed, uncordoned } from "../../../../api-server/subresources/drain.ts";
import { EvictionStrategy } from "../../../../gen/drover/v1/machine.ts";
import { DrainItemState, DrainPhase } from "../../../../gen/drover/v1/node.ts";
import type { DrainItemProgress, DrainPlan } from "../../../../gen/drover/v1/node.ts";
import { RunStrategy } from "../../../../gen/drover/v1/virtual_machine.ts";
import { DomainState, MigrationSourceReport, MigrationSourceState, MigrationTargetReport, MigrationTargetState, OwnerClaim, OwnerReport, Phase } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import type { Action } from "../../../../controller/actions.ts";
import { isOpen } from "../../../../controller/migration/story.ts";
import { keyOf, nodeOf } from "../../../../controller/objects.ts";
import type { Instance, NodeRecord } from "../../../../controller/objects.ts";
import { planDrain } from "../../../../lib/drain/plan.ts";
import { DRAIN_LABEL, isDraining, itemsOf } from "../../../../lib/drain/record.ts";
import { takeSnapshot } from "../../../../lib/preflight/candidate.ts";
import { loadsOf, nodesOf } from "../../../../lib/preflight/load.ts";
import { aSpec, World } from "../world.ts";

export type Born = { strategy?: EvictionStrategy; runStrategy?: RunStrategy; guest?: string; cpuModel?: string };

export const nameIn = (values: Readonly<Record<string, number>>, value: number): string => Object.keys(values).find((key) => values[key] === value) ?? "";

/** What becomes of the transfers to a node. */
export type Outcome = "moves" | "stays" | "hangs" | "refuses";

export class Herd {
  readonly world = new RecordingWorld();
  readonly outcomes = new Map<string, Outcome>();
  #drains = 0;

  constructor(names: readonly string[]) {
    for (const name of names) this.world.addNode(name, { hostPassthrough: true });
  }

  /** Starts a machine on the node. */
  add(name: string, on: string, { strategy = EvictionStrategy.LIVE_MIGRATE, runStrategy = RunStrategy.ALWAYS, guest = "512Mi", cpuModel = "" }: Born = {}): void {
    const others = this.world.caches.nodes.list().filter(({ metadata, spec }) => metadata.name !== on && !spec.unschedulable).map(({ metadata }) => metadata.name);
    for (const other of others) this.cordon(other, true);
    const spec = aSpec({ disks: [`${name}.qcow2`], guest });
    this.world.addMachine(runStrategy, { ...spec, evictionStrategy: strategy, domain: { ...spec.domain, ...(cpuModel !== "" && { cpu: { sockets: 1, cores: 1, threads: 1, model: cpuModel } }) } }, name);
    this.rest();
    for (const other of others) this.cordon(other, false);
  }

  cordon(name: string, unschedulable: boolean): void {
    const node = this.node(name);
    this.world.put(this.world.caches.nodes, { ...node, spec: { ...node.spec, unschedulable } });
  }

  plan(name: string, allowStop: readonly string[] = [], allowStopAll = false): DrainPlan {
    const { nodes, instances, machines, migrations } = this.world.caches;
    const node = this.node(name);
    const here = instances.list().filter((instance) => nodesOf(instance).includes(name));
    return planDrain(here, takeSnapshot(nodes.list(), { loadOn: loadsOf(instances.list()) }), {
      node,
      open(instance) {
        const open = migrations.by("instance", keyOf(instance as Instance)).find(isOpen);
        return open && { name: open.metadata.name, targetNode: open.status.targetNode || open.spec.targetNode, own: open.metadata.labels[DRAIN_LABEL] === node.metadata.uid };
      },
      runStrategy: (instance) => machines.get(keyOf(instance as Instance))?.spec.runStrategy,
      stopAllowed: stopsAllowed(here, { allowStop, allowStopAll }),
      preferred: (instance) => (isDraining(node) ? itemsOf(node).find(({ uid }) => uid === instance.metadata!.uid)?.targetNode : undefined),
    });
  }

  drain(name: string, { allowStop = [], allowStopAll = false }: { allowStop?: readonly string[]; allowStopAll?: boolean } = {}): DrainPlan {
    const plan = this.plan(name, allowStop, allowStopAll);
    const changed = drained(this.node(name), { plan, planId: "", uid: `drain-${(this.#drains += 1)}`, subject: "test", now: new Date(0), seen: undefined });
    if (changed) this.world.put(this.world.caches.nodes, nodeOf(changed)!);
    return plan;
  }

  uncordon(name: string): void {
    const changed = uncordoned(this.node(name));
    if (changed) this.world.put(this.world.caches.nodes, nodeOf(changed)!);
  }

  node(name: string): NodeRecord {
    return this.world.caches.nodes.get(name)!;
  }

  phase(name: string): string {
    return nameIn(DrainPhase, this.node(name).status.drainProgress?.phase ?? 0);
  }

  item(node: string, name: string): DrainItemProgress {
    return this.node(node).status.drainProgress!.items.find((item) => item.name === name)!;
  }

  /** "RUNNING b", by name. */
  items(node: string): Record<string, string> {
    const items = this.node(node).status.drainProgress?.items ?? [];
    return Object.fromEntries(items.map(({ name, state, targetNode }) => [name, `${nameIn(DrainItemState, state)} ${targetNode}`.trim()]));
  }

  /** Where each machine's run is. */
  places(): Record<string, string> {
    return Object.fromEntries(this.world.caches.instances.list().map(({ metadata, status }) => [metadata.name, status.nodeName]));
  }

  /** Everybody acts until nothing changes, time apart. */
  rest(): void {
    for (let turn = 0; turn < 200; turn += 1) {
      this.world.settle();
      if (!this.agents()) return;
    }
    throw new Error("The herd does not come to rest");
  }

  pass(ms: number): void {
    this.world.nowMs += ms;
    this.rest();
  }

  /** One look of all agents at everything; answers whether anybody had something to say. */
  agents(): boolean {
    return this.world.caches.instances.list().map((instance) => this.#act(instance)).some((acted) => acted);
  }

  #act(instance: Instance): boolean {
    const { status, metadata } = instance;
    const grant = status.migration;
    const say = (change: Partial<Instance["status"]>): true => {
      this.world.put(this.world.caches.instances, { ...instance, status: { ...status, ...change } });
      return true;
    };
    const report = (state: DomainState) => OwnerReport.create({ nodeName: status.nodeName, epoch: status.epoch, state });
    if (grant && !grant.handedOff) return this.#migrate(instance, say);
    if (grant?.source && grant.source.state !== MigrationSourceState.LEFT) {
      return say({ migration: { ...grant, source: { ...grant.source, generation: grant.source.generation + 1, state: MigrationSourceState.LEFT } } });
    }
    if (metadata.deletionTimestamp && status.claim && status.ownerReport?.state !== DomainState.GONE) return say({ phase: Phase.SUCCEEDED, ownerReport: report(DomainState.GONE) });
    if (metadata.deletionTimestamp || status.phase !== Phase.SCHEDULED) return false;
    const claim = OwnerClaim.create({ epoch: status.epoch, nodeName: status.nodeName, agentInstance: status.nodeName });
    return say({ claim, phase: Phase.RUNNING, reachedRunning: true, ownerReport: report(DomainState.RUNNING) });
  }

  #migrate({ status }: Instance, say: (change: Partial<Instance["status"]>) => true): boolean {
    const grant = status.migration!;
    const outcome = this.outcomes.get(grant.targetNode) ?? "moves";
    const generation = (grant.source?.generation ?? 0) + 1;
    const source = (state: MigrationSourceState) => say({ migration: { ...grant, source: MigrationSourceReport.create({ state, generation }) } });
    const target = (state: MigrationTargetState, message = "") =>
      say({ migration: { ...grant, target: MigrationTargetReport.create({ state, message, generation: (grant.target?.generation ?? 0) + 1, peerGeneration: grant.source?.generation ?? 0 }) } });
    if (!grant.target) return outcome === "refuses" ? target(MigrationTargetState.REFUSED, "no") : target(MigrationTargetState.READY);
    if (grant.target.state === MigrationTargetState.REFUSED) return false;
    if (!grant.source) return source(MigrationSourceState.ISSUED);
    if (grant.source.state !== MigrationSourceState.ISSUED || outcome === "hangs" || grant.target.state === MigrationTargetState.RUNNING) return false;
    return outcome === "moves" && !grant.abortRequested ? target(MigrationTargetState.RUNNING) : source(MigrationSourceState.STAYED);
  }
}

/** Keeps what was ended, and on whose word. */
export class RecordingWorld extends World {
  readonly stops: { name: string; byDrain: boolean }[] = [];
  readonly moves: { name: string; to: string }[] = [];

  override carryOut(action: Action): void {
    if (action.do === "delete-instance") this.stops.push({ name: action.instance.metadata.name, byDrain: action.drain !== undefined });
    if (action.do === "create-migration") this.moves.push({ name: action.migration.spec.vmiName, to: action.migration.spec.targetNode });
    super.carryOut(action);
  }
}
