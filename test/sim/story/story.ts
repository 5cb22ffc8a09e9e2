/** Lets a plan happen to a fleet: at its times, or when a machine's migration is where the plan waits for it. */
import { MigrationSourceState, MigrationTargetState, Phase } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import type { InstanceMigration } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import type { Mirror } from "../check/mirror.ts";
import { involvedOf } from "../check/mirror.ts";
import type { SimHost } from "../hypervisor/host.ts";
import type { MovePhase } from "../plan/cells.ts";
import { FENCE_MS, HEAL_MS, NODES } from "../plan/plan.ts";
import type { Fault, NodeName, Plan, Step, Verb } from "../plan/plan.ts";
import { tellStep } from "../plan/words.ts";
import type { Fleet } from "../programs/fleet.ts";
import { Harms } from "./harms.ts";
import { Users } from "./users.ts";

type Waiting = { step: Step; move: number; phase: MovePhase; delayMs: number };
type Parties = { source: NodeName; target: NodeName };

export class Story {
  readonly users: Users;
  /** Hits by "phase party harm", for what struck a migration where it was. */
  readonly cells = new Map<string, number>();
  readonly #fleet: Fleet;
  readonly #mirror: Mirror;
  readonly #plan: Plan;
  readonly #harms: Harms;
  #waiting: Waiting[] = [];
  /** Which machine each migration came to be of. */
  readonly #moved = new Map<number, string>();

  constructor(fleet: Fleet, mirror: Mirror, plan: Plan) {
    this.#fleet = fleet;
    this.#mirror = mirror;
    this.#plan = plan;
    this.users = new Users(fleet, mirror);
    this.#harms = new Harms(fleet);
    mirror.instances.listeners.push(({ name, after }) => {
      const migration = after?.status?.migration;
      if (migration) this.#reached(name, phaseOf(migration), migration);
    });
  }

  begin(): void {
    const { world, network } = this.#fleet;
    network.weather = this.#plan.weather;
    this.#fleet.startServer();
    this.#fleet.startControllers();
    for (const name of NODES) void this.#join(name);
    for (const machine of this.#plan.machines) world.after(machine.createdMs, () => void this.users.createMachine(machine));
    for (const step of this.#plan.steps) {
      if ("atMs" in step.when) world.after(step.when.atMs, () => this.#carryOut(step));
      else this.#waiting.push({ step, ...step.when });
    }
    world.after(HEAL_MS, () => this.#heal());
  }

  /** libvirt has stopped a guest to switch it over. */
  switching(host: SimHost, uuid: string): void {
    for (const [name, { status, spec }] of this.#mirror.instances.objects) {
      if (spec?.domain?.firmware?.uuid === uuid && status?.migration && status.nodeName === host.name) this.#reached(name, "switchover", status.migration);
    }
  }

  async #join(name: NodeName): Promise<void> {
    const place = this.#fleet.places.get(name)!;
    place.nodeRecordUid = await this.users.createNode(name);
    this.#fleet.startAgent(name);
  }

  #reached(name: string, phase: MovePhase, { sourceNode, targetNode }: InstanceMigration): void {
    const { world } = this.#fleet;
    const parties = { source: sourceNode as NodeName, target: targetNode as NodeName };
    const due = this.#waiting.filter((one) => this.#moved.get(one.move) === name && one.phase === phase);
    this.#waiting = this.#waiting.filter((one) => !due.includes(one));
    for (const { step, delayMs } of due) world.after(delayMs, () => this.#carryOut(step, { name, phase, parties }));
  }

  #carryOut(step: Step, at?: { name: string; phase: MovePhase; parties: Parties }): void {
    const { world } = this.#fleet;
    if (world.nowMs >= HEAL_MS) return;
    world.note(`* ${tellStep(step)}`);
    if (step.act === "verb") return void this.users.wish(this.#meant(step.verb, at?.name));
    if (step.fault.party === "failpoint") return this.#fleet.failpoints.arm(step.fault);
    this.#strike(step.fault, at);
  }

  /** A migration wants a machine that runs; what meets it is about that one. */
  #meant(verb: Verb, name: string | undefined): Verb {
    if (!("machine" in verb)) return verb;
    if (name !== undefined) return { ...verb, machine: Number(name.slice(1)) };
    if (verb.verb !== "migrate") return verb;
    const count = this.#plan.machines.length;
    const order = Array.from({ length: count }, (_, index) => (verb.machine + index) % count);
    const machine = order.find((index) => this.#mirror.instances.objects.get(`m${index}`)?.status?.phase === Phase.RUNNING) ?? verb.machine;
    this.#moved.set(verb.move, `m${machine}`);
    return { ...verb, machine };
  }

  #strike(fault: Exclude<Fault, { party: "failpoint" }>, at?: { name: string; phase: MovePhase; parties: Parties }): void {
    const { party, harm, forMs } = fault;
    const part = /^(source|target)-/.exec(party)?.[1] as keyof Parties | undefined;
    const node = at ? (part ? at.parties[part] : at.parties.source) : fault.node;
    const other = at ? at.parties.target : fault.other;
    const uuid = at ? involvedOf(this.#mirror, at.name) : "";
    if (!this.#harms.strike(party, { harm, forMs, node, other, uuid }) || !at) return;
    // Where it is by now: the fault may have been meant for a little later.
    const migration = this.#mirror.instances.objects.get(at.name)?.status?.migration;
    const phase = migration && (at.phase === "switchover" && phaseOf(migration) === "running" ? at.phase : phaseOf(migration));
    if (!phase) return;
    const cell = `${phase} ${party} ${harm}`;
    this.cells.set(cell, (this.cells.get(cell) ?? 0) + 1);
  }

  /** Nothing breaks any more. Hosts come back, or somebody states that they do not. */
  #heal(): void {
    const { world, network, places } = this.#fleet;
    world.note("* all faults end");
    network.weather = { ...this.#plan.weather, loss: 0, duplicate: 0 };
    const fenced = [...places.values()].filter(({ host }) => !host.up).filter((_, index) => index === 0 && this.#plan.seed % 2 === 0);
    for (const { host } of places.values()) if (!host.up && !fenced.some((place) => place.host === host)) this.#fleet.powerOn(host.name);
    this.#harms.end();
    for (const name of NODES) void this.users.wish({ verb: "uncordon", node: name });
    for (const { host } of fenced) world.after(FENCE_MS, () => void this.users.confirmFenced(host.name));
  }
}

/** As the machine's record has it. */
export function phaseOf({ source, target, handedOff }: InstanceMigration): MovePhase {
  if (handedOff) return "finalizing";
  if ((source?.state ?? MigrationSourceState.UNSPECIFIED) !== MigrationSourceState.UNSPECIFIED) return "running";
  return target?.state === MigrationTargetState.READY ? "ready" : "preparing";
}
