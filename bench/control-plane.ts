/** The control plane that is measured, as its clients see it: calls, and watches over each kind that are always open. */
import { MigrationServiceDefinition } from "../gen/drover/v1/migration.ts";
import type { VirtualMachineInstanceMigration } from "../gen/drover/v1/migration.ts";
import { NodeServiceDefinition } from "../gen/drover/v1/node.ts";
import { VirtualMachineServiceDefinition } from "../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachine } from "../gen/drover/v1/virtual_machine.ts";
import { Phase, VirtualMachineInstanceServiceDefinition } from "../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../gen/drover/v1/virtual_machine_instance.ts";
import { connect } from "../lib/client.ts";
import type { Connection } from "../lib/client.ts";
import { systemClock } from "../lib/clock.ts";
import { NAMESPACE } from "./machines.ts";
import { Watch } from "./watch.ts";
import type { Sighting, WatchMessage } from "./watch.ts";

export type Watched = VirtualMachine | VirtualMachineInstance | VirtualMachineInstanceMigration;

export const clientsOf = ({ client }: Connection) => ({
  machines: client(VirtualMachineServiceDefinition),
  instances: client(VirtualMachineInstanceServiceDefinition),
  migrations: client(MigrationServiceDefinition),
  nodes: client(NodeServiceDefinition),
});

const EVERYTHING = { namespace: NAMESPACE, fromRevision: "", labelSelector: "", fieldSelector: "" };

export class ControlPlane implements Disposable {
  readonly api: ReturnType<typeof clientsOf>;
  readonly machines: Watch<VirtualMachine>;
  readonly instances: Watch<VirtualMachineInstance>;
  readonly migrations: Watch<VirtualMachineInstanceMigration>;
  readonly #connection: Connection;

  private constructor(connection: Connection, watches: Pick<ControlPlane, "api" | "machines" | "instances" | "migrations">) {
    this.#connection = connection;
    this.api = watches.api;
    this.machines = watches.machines;
    this.instances = watches.instances;
    this.migrations = watches.migrations;
  }

  static async open(server: string): Promise<ControlPlane> {
    const connection = connect({ server });
    const api = clientsOf(connection);
    const [machines, instances, migrations] = await Promise.all([
      Watch.open<VirtualMachine>((signal) => api.machines.watchVirtualMachines(EVERYTHING, { signal }) as AsyncIterable<WatchMessage<VirtualMachine>>),
      Watch.open<VirtualMachineInstance>((signal) => api.instances.watchVirtualMachineInstances(EVERYTHING, { signal }) as AsyncIterable<WatchMessage<VirtualMachineInstance>>),
      Watch.open<VirtualMachineInstanceMigration>((signal) => api.migrations.watchVirtualMachineInstanceMigrations(EVERYTHING, { signal }) as AsyncIterable<WatchMessage<VirtualMachineInstanceMigration>>),
    ]);
    return new ControlPlane(connection, { api, machines, instances, migrations });
  }

  async create(virtualMachine: VirtualMachine): Promise<VirtualMachine> {
    const answer = await this.api.machines.createVirtualMachine({ virtualMachine, requestId: "", validateOnly: false });
    return answer.virtualMachine!;
  }

  /** From the call of Start until the watcher sees Running. */
  async start(name: string): Promise<{ tookMs: number; instance: VirtualMachineInstance }> {
    const running = this.instances.next(`${name} to be Running`, (seen) => named(seen, name) && seen.object.status?.phase === Phase.RUNNING);
    const beganMs = systemClock.monotonicMs();
    await this.api.machines.startVirtualMachine({ namespace: NAMESPACE, name, requestId: "", validateOnly: false });
    const { atMs, object } = await running;
    return { tookMs: atMs - beganMs, instance: object };
  }

  /** From the call of Stop until the watcher sees that the run has ended, and until nothing of it is left on record. */
  async stop(name: string, { force }: { force: boolean }): Promise<{ endedMs: number; settledMs: number }> {
    const ended = this.instances.next(`${name} to end`, (seen) => named(seen, name) && (seen.deleted || FINAL.has(seen.object.status?.phase ?? 0)));
    const settled = this.instances.next(`${name} to be gone`, (seen) => named(seen, name) && seen.deleted);
    const beganMs = systemClock.monotonicMs();
    await this.api.machines.stopVirtualMachine({ namespace: NAMESPACE, name, force, requestId: "", validateOnly: false });
    const [first, last] = await Promise.all([ended, settled]);
    return { endedMs: first.atMs - beganMs, settledMs: last.atMs - beganMs };
  }

  /** Resolves when the record is gone, and with it the run. */
  async delete(name: string): Promise<void> {
    const gone = this.machines.next(`${name} to be deleted`, (seen) => named(seen, name) && seen.deleted);
    await this.api.machines.deleteVirtualMachine({ namespace: NAMESPACE, name, uid: "", resourceVersion: "", requestId: "", validateOnly: false });
    await gone;
  }

  [Symbol.dispose](): void {
    for (const watch of [this.machines, this.instances, this.migrations]) watch[Symbol.dispose]();
    this.#connection[Symbol.dispose]();
  }
}

const FINAL = new Set<Phase>([Phase.SUCCEEDED, Phase.FAILED]);

export const named = ({ object }: Sighting<Watched>, name: string): boolean => object.metadata?.name === name;
