/** Users: each wish under a request id of its own, said again under the same one until it is answered. */
import { ClientError, Status } from "nice-grpc-common";
import { CancelMigrationRequest, MigrationServiceDefinition } from "../../../gen/drover/v1/migration.ts";
import { ConfirmFencedRequest, CordonNodeRequest, CreateNodeRequest, NodeServiceDefinition, UncordonNodeRequest } from "../../../gen/drover/v1/node.ts";
import {
  CreateVirtualMachineRequest, DeleteVirtualMachineRequest, MigrateVirtualMachineRequest, RestartVirtualMachineRequest, StartVirtualMachineRequest,
  StopVirtualMachineRequest, VirtualMachine, VirtualMachineServiceDefinition,
} from "../../../gen/drover/v1/virtual_machine.ts";
import type { Mirror } from "../check/mirror.ts";
import { involvedOf } from "../check/mirror.ts";
import { HEAL_MS } from "../plan/plan.ts";
import type { MachinePlan, NodeName, Verb } from "../plan/plan.ts";
import { POOL } from "../programs/host-files.ts";
import type { Fleet } from "../programs/fleet.ts";

const AGAIN_MS = 700;
const ANEW_MS = 3_000;
const PATIENCE_MS = 40_000;
/** Codes after which nobody knows, or nothing was done: the same request is said again. */
const AGAIN: ReadonlySet<Status> = new Set([Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.RESOURCE_EXHAUSTED, Status.INTERNAL, Status.CANCELLED, Status.ABORTED]);
const NAMESPACE = "default";

/** What was answered OK, and so must be kept: by name of the machine, the newest version that an answer showed. */
export type Acknowledged = { name: string; resourceVersion: string };

export class Users {
  readonly acknowledged: Acknowledged[] = [];
  /** How each wish ended, by its words. */
  readonly answers = new Map<string, number>();
  readonly #fleet: Fleet;
  readonly #mirror: Mirror;
  readonly #machines;
  readonly #migrations;
  readonly #nodes;
  readonly #plans = new Map<string, MachinePlan>();
  #requests = 0;

  constructor(fleet: Fleet, mirror: Mirror) {
    this.#fleet = fleet;
    this.#mirror = mirror;
    this.#machines = fleet.users.client(VirtualMachineServiceDefinition);
    this.#migrations = fleet.users.client(MigrationServiceDefinition);
    this.#nodes = fleet.users.client(NodeServiceDefinition);
  }

  async createNode(name: string): Promise<string> {
    const answer = await this.#insist(`create node ${name}`, (requestId) => this.#nodes.createNode(CreateNodeRequest.create({ node: { metadata: { name } }, requestId })));
    return answer?.node?.metadata?.uid ?? "";
  }

  async createMachine(machine: MachinePlan): Promise<void> {
    const { name, strategy, image } = machine;
    this.#plans.set(name, machine);
    const virtualMachine = VirtualMachine.create({
      metadata: { name },
      spec: {
        runStrategy: strategy,
        template: {
          spec: {
            terminationGracePeriodSeconds: 10,
            domain: { memory: { guest: "128Mi" }, devices: { disks: [{ name: "root", device: { $case: "disk", value: {} } }] } },
            volumes: [{ name: "root", source: { $case: "disk", value: { pool: POOL, image, size: "1Gi" } } }],
          },
        },
      },
    });
    this.#keep(await this.#insist(`create ${name}`, (requestId) => this.#machines.createVirtualMachine(CreateVirtualMachineRequest.create({ virtualMachine, requestId }))));
  }

  async wish(verb: Verb): Promise<void> {
    if ("node" in verb) return verb.verb === "confirm-fenced" ? this.confirmFenced(verb.node) : this.#cordon(verb.verb, verb.node);
    const name = `m${verb.machine}`;
    const named = { namespace: NAMESPACE, name };
    switch (verb.verb) {
      case "start":
        return this.#keep(await this.#insist(`start ${name}`, (requestId) => this.#machines.startVirtualMachine(StartVirtualMachineRequest.create({ ...named, requestId }))));
      case "stop":
      case "force-stop": {
        const force = verb.verb === "force-stop";
        return this.#keep(await this.#insist(`${verb.verb} ${name}`, (requestId) => this.#machines.stopVirtualMachine(StopVirtualMachineRequest.create({ ...named, force, requestId }))));
      }
      case "restart":
        return this.#keep(await this.#insist(`restart ${name}`, (requestId) => this.#machines.restartVirtualMachine(RestartVirtualMachineRequest.create({ ...named, requestId }))));
      case "delete":
        return this.#makeAnew(name, await this.#insist(`delete ${name}`, (requestId) => this.#machines.deleteVirtualMachine(DeleteVirtualMachineRequest.create({ ...named, requestId }))));
      case "migrate":
        return void (await this.#insist(`migrate ${name} ${verb.to}`, (requestId) => this.#machines.migrateVirtualMachine(MigrateVirtualMachineRequest.create({ ...named, targetNode: verb.to, requestId }))));
      case "cancel":
        return this.#cancel(name);
      case "guest-stalls":
        return this.#guestStalls(name);
      case "guest-ends":
        return this.#guestEnds(name);
    }
  }

  async confirmFenced(name: string): Promise<void> {
    const fence = (requestId: string) => this.#nodes.confirmFenced(ConfirmFencedRequest.create({ name, typedName: name, reason: "it is off", requestId }));
    // As long as the server takes the node for connected it refuses: an operator comes again.
    for (let attempt = 0; attempt < 40; attempt += 1) {
      if (this.#fleet.places.get(name)!.host.up) return;
      if (await this.#insist(`confirm that ${name} is fenced`, fence)) return;
      await this.#pause(1_000);
    }
  }

  async #cordon(verb: "cordon" | "uncordon", node: NodeName): Promise<void> {
    if (verb === "cordon") await this.#insist(`cordon ${node}`, (requestId) => this.#nodes.cordonNode(CordonNodeRequest.create({ name: node, requestId })));
    else await this.#insist(`uncordon ${node}`, (requestId) => this.#nodes.uncordonNode(UncordonNodeRequest.create({ name: node, requestId })));
  }

  async #cancel(name: string): Promise<void> {
    const open = [...this.#mirror.migrations.objects.values()].filter(({ spec, metadata }) => spec?.vmiName === name && metadata?.deletionTimestamp === undefined);
    const last = open.at(-1)?.metadata?.name;
    if (last) await this.#insist(`cancel ${last}`, (requestId) => this.#migrations.cancelMigration(CancelMigrationRequest.create({ namespace: NAMESPACE, name: last, requestId })));
  }

  /** A machine of the same name takes the place of one that is gone. */
  async #makeAnew(name: string, deleted: unknown): Promise<void> {
    const plan = this.#plans.get(name);
    if (!plan || !deleted) return;
    for (let looks = 0; this.#mirror.machines.objects.has(name) && looks < 30; looks += 1) await this.#pause(1_000);
    await this.#pause(ANEW_MS);
    if (this.#fleet.world.nowMs < HEAL_MS) await this.createMachine(plan);
  }

  /** From inside: nobody asked Drover. */
  async #guestEnds(name: string): Promise<void> {
    const uuid = involvedOf(this.#mirror, name);
    for (const { host } of this.#fleet.places.values()) if (host.qemus.get(uuid)?.state === "running") host.stop(uuid, "shutdown");
  }

  /** Its disk does not answer for a moment: QEMU stops it, and lets it go on. */
  #guestStalls(name: string): void {
    const uuid = involvedOf(this.#mirror, name);
    for (const { host } of this.#fleet.places.values()) host.stall(uuid);
  }

  #keep(answer: { virtualMachine?: VirtualMachine | undefined } | undefined): void {
    const metadata = answer?.virtualMachine?.metadata;
    if (metadata) this.acknowledged.push({ name: metadata.name, resourceVersion: metadata.resourceVersion });
  }

  /** Undefined when it was refused, or nobody answered for too long. */
  async #insist<T>(words: string, call: (requestId: string) => Promise<T>): Promise<T | undefined> {
    const { world } = this.#fleet;
    const requestId = `request-${(this.#requests += 1)}`;
    const untilMs = world.nowMs + PATIENCE_MS;
    for (;;) {
      try {
        const answer = await call(requestId);
        this.#told(words, "OK");
        return answer;
      } catch (error) {
        const code = error instanceof ClientError ? error.code : Status.UNKNOWN;
        if (!AGAIN.has(code) || world.nowMs > untilMs) {
          this.#told(words, `${Status[code]}${error instanceof ClientError ? `: ${error.details}` : String(error)}`);
          return undefined;
        }
      }
      await this.#pause(AGAIN_MS);
    }
  }

  #told(words: string, answer: string): void {
    this.#fleet.world.note(`user: ${words}: ${answer}`);
    const kind = `${words.split(" ")[0]!} ${answer.split(":")[0]!}`;
    this.answers.set(kind, (this.answers.get(kind) ?? 0) + 1);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#fleet.world.after(ms, () => resolve()));
  }
}
