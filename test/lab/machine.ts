/** One machine of a fleet as a test sees it: by the API, by its console, and by what libvirt itself says. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { MigrationSettings, VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { MigrationPhase, MigrationPriority } from "../../gen/drover/v1/migration.ts";
import type { VirtualMachineInstanceMigration } from "../../gen/drover/v1/migration.ts";
import { GUEST_TICK } from "./guest.ts";
import type { Fleet } from "./fleet.ts";
import { waitFor } from "./process.ts";

const GUEST_TIMEOUT_MS = 90_000;
const RECORD_TIMEOUT_MS = 60_000;
/** Enough for the last of what a guest counts. */
const TAIL_BYTES = 8_192;
const FINAL = new Set<MigrationPhase>([MigrationPhase.SUCCEEDED, MigrationPhase.FAILED, MigrationPhase.CANCELLED]);

export type Tick = { count: number; uptimeSeconds: number; boot: string };

export type MachineOptions = {
  runStrategy?: string;
  nodeSelector?: Record<string, string>;
  /** Kernel options of the guest, such as `offafter=10`. */
  kernelArguments?: string;
  /** File name of its disk in the shared pool; derived from the name when absent. */
  image?: string;
  /** Its volumes instead of that one, the first of which the guest writes its record to. */
  volumes?: readonly (Record<string, unknown> & { name: string })[];
  memory?: string;
  /** Such as "LiveMigrate"; the API's default when absent. */
  evictionStrategy?: string;
  /** Of its runs. */
  labels?: Record<string, string>;
  /** Such as "maximum", which keeps it from moving live. */
  cpuModel?: string;
  /** Without a kernel the firmware finds nothing to boot: enough where only the domain matters. */
  bare?: boolean;
};

export class Machine {
  readonly name: string;
  readonly #fleet: Fleet;

  private constructor(fleet: Fleet, name: string) {
    this.#fleet = fleet;
    this.name = name;
  }

  /** Records the machine by `drover apply`. */
  static async apply(fleet: Fleet, name: string, options: MachineOptions = {}): Promise<Machine> {
    const file = join(fleet.lab.directory, `${name}.yaml`);
    writeFileSync(file, stringify(manifest(name, options)));
    await fleet.drover("apply", "-f", file);
    return new Machine(fleet, name);
  }

  /** A machine whose guest counts on the console of `node`, or of whichever node the scheduler took. */
  static async running(fleet: Fleet, name: string, options: MachineOptions = {}): Promise<Machine> {
    const machine = await Machine.apply(fleet, name, { runStrategy: "Always", ...options });
    await machine.phase(Phase.RUNNING);
    await machine.tick(({ count }) => count >= 1);
    return machine;
  }

  async record(): Promise<VirtualMachine> {
    return (await this.#fleet.api.machines.getVirtualMachine({ namespace: "default", name: this.name })).virtualMachine!;
  }

  async instance(): Promise<VirtualMachineInstance | undefined> {
    const answer = await this.#fleet.api.instances.getVirtualMachineInstance({ namespace: "default", name: this.name }).catch(() => undefined);
    return answer?.virtualMachineInstance;
  }

  async node(): Promise<string> {
    return (await this.instance())?.status?.nodeName ?? "";
  }

  async uuid(): Promise<string> {
    return (await this.record()).spec!.template!.spec!.domain!.firmware!.uuid;
  }

  phase(phase: Phase): Promise<VirtualMachineInstance> {
    return this.until(`instance ${this.name} to be ${phase}`, (instance) => instance?.status?.phase === phase);
  }

  until(what: string, holds: (instance: VirtualMachineInstance | undefined) => boolean, timeoutMs = RECORD_TIMEOUT_MS): Promise<VirtualMachineInstance> {
    return waitFor(what, async () => {
      const instance = await this.instance();
      return holds(instance) ? (instance ?? ({} as VirtualMachineInstance)) : undefined;
    }, { timeoutMs });
  }

  /** The end of what its present node has of the guest's console, as `drover logs` prints it, without a process for every look. */
  async #console(): Promise<string> {
    const pieces: Uint8Array[] = [];
    for await (const { data } of this.#fleet.api.instances.readConsole({ namespace: "default", name: this.name, follow: false, tailBytes: TAIL_BYTES })) pieces.push(data);
    return Buffer.concat(pieces).toString();
  }

  /** What the guest counted last on its present node's console. */
  async lastTick(): Promise<Tick | undefined> {
    const output = await this.#console().catch(() => "");
    const last = output.split(/\r?\n/).map((line) => GUEST_TICK.exec(line)).filter((match) => match !== null).at(-1);
    return last && { count: Number(last[1]), uptimeSeconds: Number(last[2]), boot: last[3]! };
  }

  tick(holds: (tick: Tick) => boolean): Promise<Tick> {
    return waitFor(`the guest of ${this.name} to count`, async () => {
      const tick = await this.lastTick();
      return tick && holds(tick) ? tick : undefined;
    }, { timeoutMs: GUEST_TIMEOUT_MS });
  }

  /** The guest counts on from `before` without having been booted again, on exactly one host by libvirt's own word. */
  async assertUnharmed(before: Tick): Promise<Tick> {
    const after = await this.tick(({ count, boot }) => boot !== before.boot || count > before.count);
    assert.equal(after.boot, before.boot, "the guest was booted again");
    assert.deepEqual(await this.#fleet.hostsRunning(await this.uuid()), [await this.node()], "libvirt and the record agree on one host");
    return after;
  }

  /** Asks for a move and answers its name. `bandwidthMiBps` makes it long enough to interfere with. */
  async migrate(options: MigrateOptions = {}): Promise<string> {
    const { migration } = await this.#fleet.api.migrations.createVirtualMachineInstanceMigration({
      requestId: "",
      validateOnly: false,
      migration: migrationOf(this.name, options),
    });
    return migration!.metadata!.name;
  }

  async migration(name: string): Promise<VirtualMachineInstanceMigration> {
    return (await this.#fleet.api.migrations.getVirtualMachineInstanceMigration({ namespace: "default", name })).migration!;
  }

  async migrationIn(name: string, phase: MigrationPhase): Promise<VirtualMachineInstanceMigration> {
    return waitFor(`migration ${name} to be in phase ${phase}`, async () => {
      const migration = await this.migration(name).catch(() => undefined);
      if (migration && migration.status?.phase !== phase && FINAL.has(migration.status?.phase ?? 0)) {
        throw new Error(`Migration ${name} ended in phase ${migration.status?.phase}: ${migration.status?.message}`);
      }
      return migration?.status?.phase === phase ? migration : undefined;
    }, { timeoutMs: RECORD_TIMEOUT_MS });
  }

  migrationEnds(name: string, timeoutMs = 90_000): Promise<VirtualMachineInstanceMigration> {
    return waitFor(`migration ${name} to end`, async () => {
      const migration = await this.migration(name).catch(() => undefined);
      return FINAL.has(migration?.status?.phase ?? 0) ? migration : undefined;
    }, { timeoutMs });
  }

  async delete(): Promise<void> {
    await this.#fleet.drover("stop", this.name, "--force", "--wait");
    await this.#fleet.drover("delete", "vm", this.name, "--wait");
  }
}

export type MigrateOptions = { to?: string; bandwidthMiBps?: number; nodeSelector?: Record<string, string>; settings?: MigrationSettings };

function migrationOf(vmiName: string, { to = "", bandwidthMiBps = 0, nodeSelector = {}, settings }: MigrateOptions): VirtualMachineInstanceMigration {
  return {
    metadata: {
      name: `${vmiName}-${Math.random().toString(36).slice(2, 8)}`, namespace: "default", uid: "", generation: 0, resourceVersion: "", labels: {},
      annotations: {}, finalizers: [], ownerReferences: [], creationTimestamp: undefined, deletionTimestamp: undefined,
    },
    spec: { vmiName, targetNode: to, addedNodeSelector: nodeSelector, bandwidthMibPerSecond: bandwidthMiBps, autoConverge: false, settings, priority: MigrationPriority.USER },
    status: undefined,
  };
}

function manifest(name: string, options: MachineOptions): unknown {
  const { runStrategy = "Manual", nodeSelector, kernelArguments = "", image, memory = "128Mi", bare = false, evictionStrategy, labels, cpuModel } = options;
  const volumes = options.volumes ?? [{ name: "data", disk: { pool: "shared", size: "16Mi", format: "raw", ...(image ? { image } : {}) } }];
  const kernelBoot = { pool: "shared", kernel: "vmlinuz", initrd: "initrd.img", kernelArgs: `console=ttyS0 quiet ${kernelArguments}`.trim() };
  return {
    apiVersion: "drover.dev/v1",
    kind: "VirtualMachine",
    metadata: { name },
    spec: {
      runStrategy,
      template: {
        ...(labels ? { metadata: { labels } } : {}),
        spec: {
          terminationGracePeriodSeconds: 20,
          ...(evictionStrategy ? { evictionStrategy } : {}),
          ...(nodeSelector ? { nodeSelector } : {}),
          domain: {
            memory: { guest: memory },
            ...(cpuModel ? { cpu: { model: cpuModel } } : {}),
            ...(bare ? {} : { firmware: { kernelBoot } }),
            devices: { autoattachGraphicsDevice: false, ...(bare ? {} : { disks: volumes.map(({ name: disk }) => ({ name: disk, disk: {} })) }) },
          },
          ...(bare ? {} : { volumes }),
        },
      },
    },
  };
}
