/**
 * The controller's decisions on records in memory: the real caches, observations and decisions, the writes carried out by
 * compare-and-set as the API server does. Time stands still unless a test moves it.
 */
import { NodeFence, NodePool, NodeReport, NodeSession, NodeSessionState, NodeSpec, NodeStatus, KvmState } from "../../../gen/drover/v1/node.ts";
import { Disk, DomainSpec, VirtualMachineInstanceSpec, VirtualMachineVolume } from "../../../gen/drover/v1/machine.ts";
import { ObjectMeta } from "../../../gen/drover/v1/meta.ts";
import { MigrationPhase, VirtualMachineInstanceMigrationSpec, VirtualMachineInstanceMigrationStatus } from "../../../gen/drover/v1/migration.ts";
import { PowerIntent, PowerState, RunStrategy, VirtualMachineStatus } from "../../../gen/drover/v1/virtual_machine.ts";
import { ReleaseReason } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { VolumeState, VolumeStatus } from "../../../gen/drover/v1/volume.ts";
import { MIGRATION_BUDGETS } from "../../../controller/migration/budgets.ts";
import type { Action } from "../../../controller/actions.ts";
import type { Cache } from "../../../controller/cache.ts";
import { makeCaches, makeContext } from "../../../controller/context.ts";
import type { Caches, Context } from "../../../controller/context.ts";
import { instanceOf, keyOf, machineOf } from "../../../controller/objects.ts";
import type { Instance, InstanceSpec, Machine, Migration, Named, NodeRecord } from "../../../controller/objects.ts";
import { INSTANCE_FINALIZER } from "../../../controller/virtual-machine/decide.ts";
import { makeLoops } from "../../../controller/wiring.ts";
import type { Clock } from "../../../lib/clock.ts";
import { MIGRATION_DEFAULTS } from "../../../lib/migration-policy.ts";
import type { Random } from "../../../lib/random.ts";

export class Lost extends Error {
  override name = "Lost";
}

export class World {
  nowMs = 0;
  readonly caches: Caches = makeCaches();
  /** Every write but notices, in order. */
  readonly commits: string[] = [];
  readonly notices: string[] = [];
  #revision = 0;
  #uids = 0;
  readonly #clock: Clock = {
    monotonicMs: () => this.nowMs,
    now: () => new Date(this.nowMs),
    after: () => ({ cancel: () => undefined }),
  };
  readonly #random: Random = { uuid: () => `uid-${(this.#uids += 1)}`, fraction: () => 0.5, token: () => "token" };
  readonly context: Context = makeContext({
    caches: this.caches,
    clock: this.#clock,
    random: this.#random,
    limits: { migrations: { fleet: 5, outboundPerNode: 2, inboundPerNode: 2, defaults: MIGRATION_DEFAULTS, budgets: MIGRATION_BUDGETS } },
  });
  readonly loops = makeLoops(this.context, { clock: this.#clock, random: this.#random });

  /** Runs every loop over every key until nothing is written any more. */
  settle(): void {
    for (let turn = 0; turn < 60; turn += 1) if (!this.turn()) return;
    throw new Error(`The controller does not come to rest: ${this.commits.slice(-8).join(", ")}`);
  }

  /** One look at every key; answers whether anything was written. */
  turn(): boolean {
    const before = this.commits.length;
    const { machines, instances, migrations, nodes, volumes } = this.caches;
    const names = [...new Set([...machines.list(), ...instances.list()].map(keyOf).concat(migrations.list().map(({ spec }) => `default/${spec.vmiName}`)))];
    for (const key of names) for (const loop of ["machine", "instance", "migration"] as const) this.#run(this.loops[loop].reconcile(key).actions);
    for (const key of nodes.list().map(keyOf)) for (const loop of ["node", "drain"] as const) this.#run(this.loops[loop].reconcile(key).actions);
    for (const key of volumes.list().map(keyOf)) this.#run(this.loops.volume.reconcile(key).actions);
    return this.commits.length > before;
  }

  /** A list of actions ends with the first that loses. */
  #run(actions: readonly Action[]): void {
    try {
      for (const action of actions) this.carryOut(action);
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
    }
  }

  carryOut(action: Action): void {
    const { machines, instances, migrations, nodes, volumes } = this.caches;
    if (action.do === "notify") return void this.notices.push(action.notice.reason);
    this.commits.push(action.do);
    switch (action.do) {
      case "create-instance":
        return this.create(instances, instanceOf(action.instance)!);
      case "put-machine":
        return this.put(machines, action.machine);
      case "finish-machine":
        return this.put(machines, action.machine);
      case "delete-instance":
        return this.#markDeleted(action.instance, action.graceSeconds);
      case "put-instance":
        return this.put(instances, action.instance);
      case "release-instance":
        return this.#release(action.instance, action.reason);
      case "hold-volume":
        return action.volume.metadata.resourceVersion === "" ? this.create(volumes, action.volume) : this.put(volumes, action.volume);
      case "free-volume":
        return this.put(volumes, { ...action.volume, status: { ...action.volume.status, holder: undefined } });
      case "create-migration":
        return this.create(migrations, { ...action.migration, status: VirtualMachineInstanceMigrationStatus.create({ phase: MigrationPhase.PENDING }) });
      case "settle-volume":
        return this.put(volumes, { ...action.volume, status: { ...action.volume.status, state: VolumeState.UNSPECIFIED, migrationUid: "" } });
      case "vacate-volume":
        return this.put(volumes, { ...action.volume, status: VolumeStatus.create({ state: VolumeState.VACATED, migrationUid: action.migrationUid }) });
      case "delete-volume":
        return volumes.apply({ type: "gone", object: action.volume, revision: this.#next() });
      case "put-migration":
        return this.put(migrations, action.migration);
      case "delete-migration":
        return migrations.apply({ type: "gone", object: action.migration, revision: this.#next() });
      case "put-node":
        return this.put(nodes, action.node);
    }
  }

  create<T extends Named, I extends string>(cache: Cache<T, I>, object: T): void {
    if (cache.get(keyOf(object))) throw new Lost(`${keyOf(object)} exists`);
    const uid = object.metadata.uid || this.#random.uuid();
    const revision = this.#next();
    cache.apply({ type: "put", revision, object: { ...object, metadata: { ...object.metadata, uid, resourceVersion: revision, creationTimestamp: new Date(this.nowMs) } } });
  }

  put<T extends Named, I extends string>(cache: Cache<T, I>, object: T): void {
    if (cache.get(keyOf(object))?.metadata.resourceVersion !== object.metadata.resourceVersion) throw new Lost(`${keyOf(object)} has changed`);
    const revision = this.#next();
    const isGone = object.metadata.deletionTimestamp && object.metadata.finalizers.length === 0;
    cache.apply({ type: isGone ? "gone" : "put", revision, object: { ...object, metadata: { ...object.metadata, resourceVersion: revision } } });
  }

  #markDeleted({ metadata }: Instance, graceSeconds: number | undefined): void {
    const held = this.caches.instances.get(`${metadata.namespace}/${metadata.name}`);
    if (held?.metadata.uid !== metadata.uid) return;
    const marked = { ...held.metadata, deletionTimestamp: new Date(this.nowMs), deletionGracePeriodSeconds: graceSeconds ?? 30 };
    this.put(this.caches.instances, { ...held, metadata: marked });
  }

  /** With the evidence that the API server asks for. */
  #release(instance: Instance, reason: ReleaseReason): void {
    const { status, metadata } = instance;
    const machine = this.caches.machines.get(keyOf(instance));
    if (!metadata.deletionTimestamp || status.migration) throw new Error("Released while it is not ending");
    if (reason === ReleaseReason.UNCLAIMED && status.claim) throw new Error("Released as unclaimed, and claimed");
    if (reason === ReleaseReason.FENCED && !this.caches.nodes.get(status.nodeName)?.status.fence) throw new Error("Released as fenced, and not fenced");
    if (machine && machine.status.lastEpoch < status.lastGrantedEpoch) throw new Error("Released before its epochs were recorded");
    this.put(this.caches.instances, { ...instance, metadata: { ...metadata, finalizers: [] } });
  }

  #next(): string {
    this.#revision += 1;
    return `world.${this.#revision}`;
  }

  machine(): Machine | undefined {
    return this.caches.machines.get("default/web");
  }

  instance(): Instance | undefined {
    return this.caches.instances.get("default/web");
  }

  migrations(): Migration[] {
    return this.caches.migrations.list();
  }

  changeInstance(change: (status: Instance["status"]) => Instance["status"]): void {
    const instance = this.instance()!;
    this.put(this.caches.instances, { ...instance, status: change(instance.status) });
  }

  changeNode(name: string, change: (status: NodeStatus) => NodeStatus): void {
    const node = this.caches.nodes.get(name)!;
    this.put(this.caches.nodes, { ...node, status: change(node.status) });
  }

  power(intent: PowerIntent, more: Partial<PowerState> = {}): void {
    const machine = this.machine()!;
    const power = PowerState.create({ intent, generation: (machine.status.power?.generation ?? 0) + 1, ...more });
    this.put(this.caches.machines, { ...machine, status: { ...machine.status, power } });
  }

  addNode(name: string, report: Partial<NodeReport> = {}): void {
    this.create<NodeRecord, "draining">(this.caches.nodes, aNode(name, report));
  }

  addMachine(runStrategy: RunStrategy, spec: InstanceSpec = aSpec(), name = "web"): void {
    const intent = runStrategy === RunStrategy.MANUAL || runStrategy === RunStrategy.HALTED ? PowerIntent.STOP : PowerIntent.RUN;
    this.create(
      this.caches.machines,
      machineOf({
        metadata: ObjectMeta.create({ name, namespace: "default", generation: 1, finalizers: [INSTANCE_FINALIZER] }),
        spec: { runStrategy, template: { metadata: undefined, spec } },
        status: VirtualMachineStatus.create({ power: { intent, generation: 1 } }),
      })!,
    );
  }

  addMigration(name: string, spec: Partial<VirtualMachineInstanceMigrationSpec> = {}): void {
    this.create<Migration, "instance" | "open">(this.caches.migrations, {
      metadata: ObjectMeta.create({ name, namespace: "default" }),
      spec: VirtualMachineInstanceMigrationSpec.create({ vmiName: "web", ...spec }),
      status: VirtualMachineInstanceMigrationStatus.create({ phase: MigrationPhase.PENDING }),
    });
  }

  silence(name: string): void {
    this.changeNode(name, (status) => ({ ...status, session: NodeSession.create({ ...status.session, state: NodeSessionState.SILENT }) }));
  }

  connect(name: string): void {
    this.changeNode(name, (status) => ({ ...status, fence: undefined, session: NodeSession.create({ ...status.session, state: NodeSessionState.CONNECTED }) }));
  }

  fence(name: string): void {
    this.changeNode(name, (status) => ({ ...status, fence: NodeFence.create({ id: this.#random.uuid() }) }));
  }
}

export function aNode(name: string, report: Partial<NodeReport> = {}): NodeRecord {
  return {
    metadata: ObjectMeta.create({ name, uid: `node-${name}` }),
    spec: NodeSpec.create(),
    status: NodeStatus.create({
      session: { state: NodeSessionState.CONNECTED },
      report: NodeReport.create({
        cpus: 4,
        memoryBytes: 8 * 1024 ** 3,
        kvm: KvmState.VERIFIED,
        hypervisorConnected: true,
        machineTypes: ["pc-q35-7.2", "pc-q35-7.1"],
        machineAliases: { q35: "pc-q35-7.2" },
        cpuModels: ["qemu64", "Nehalem", "Haswell"],
        pools: [NodePool.create({ name: "shared", id: "5f0c0000-0000-4000-8000-000000000001" })],
        ...report,
      }),
    }),
  };
}

export function aSpec({ disks = ["root.qcow2"], guest = "512Mi" }: { disks?: string[]; guest?: string } = {}): InstanceSpec {
  const spec = VirtualMachineInstanceSpec.create({
    domain: DomainSpec.create({
      memory: { guest },
      devices: { disks: disks.map((_, index) => Disk.create({ name: `disk-${index}`, device: { $case: "disk", value: {} } })) },
    }),
    volumes: disks.map((image, index) => VirtualMachineVolume.create({ name: `disk-${index}`, source: { $case: "disk", value: { pool: "shared", image } } })),
  });
  return spec as InstanceSpec;
}
