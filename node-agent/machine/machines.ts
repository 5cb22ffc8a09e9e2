/** All machines of this node: a driver for each that a record or a domain here speaks of, fed with what happens. */
import type { ActOnDomain, Assignment, TunnelOffer } from "../../gen/drover/agent/v1/agent.ts";
import { AssignmentRole } from "../../gen/drover/agent/v1/agent.ts";
import { MigrationSourceState } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { every } from "../../lib/clock.ts";
import type { OpenMigration } from "../door/doors.ts";
import { parseInstanceMetadata } from "../domain/metadata.ts";
import type { Domain, HypervisorEvent } from "../libvirt/hypervisor.ts";
import { admit } from "./admission.ts";
import { NOT_OWNER } from "./domain-act.ts";
import type { ActVerdict } from "./domain-act.ts";
import { MachineDriver } from "./driver.ts";
import type { Standing } from "./driver.ts";
import { instanceUid } from "./observed.ts";
import type { Tools } from "./tools.ts";

const RELIST_MS = 30_000;
const RELIST_RETRY_MS = 1_000;

export class Machines {
  readonly #tools: Tools;
  readonly #drivers = new Map<string, MachineDriver>();
  readonly #standing: Standing = { synced: false, hold: false, listed: false };
  /** Assigned in the present session. */
  #assigned = new Set<string>();
  #strangers: string[] = [];
  #doorsKnown: string | undefined;

  constructor(tools: Tools) {
    this.#tools = tools;
  }

  /** What earlier agents of this host left behind is somebody's until a session has said otherwise. */
  async recall(): Promise<void> {
    for (const vmiUid of [...(await this.#tools.storage.machines()), ...this.#tools.endings.list()]) this.#driver(vmiUid, "");
  }

  /** Lists again every half minute, for what no event has told. */
  relistAlways(signal: AbortSignal): Promise<void> {
    const onError = (error: unknown) => this.#tools.log.debug({ error }, "the domains could not be listed");
    return every(this.#tools.clock, RELIST_MS, { run: () => this.relist(), signal, onError });
  }

  async relist(): Promise<void> {
    const domains = await this.#tools.hypervisor.list();
    const byUid = new Map<string, Domain>();
    const strangers: string[] = [];
    for (const domain of domains) {
      const vmiUid = parseInstanceMetadata(domain.metadata)?.vmiUid;
      if (vmiUid === undefined) strangers.push(domain.name);
      else byUid.set(vmiUid, domain);
    }
    this.#strangers = strangers;
    const first = !this.#standing.listed;
    this.#standing.listed = true;
    for (const [vmiUid, domain] of byUid) this.#driver(vmiUid, domain.uuid).seen(domain.uuid);
    for (const [vmiUid, driver] of this.#drivers) if (first || driver.differs(byUid.get(vmiUid))) driver.poke();
  }

  async consume(events: AsyncIterable<HypervisorEvent>): Promise<void> {
    for await (const event of events) await this.#receive(event);
  }

  beginSession(hold: boolean): void {
    this.#assigned = new Set();
    this.#doorsKnown = undefined;
    Object.assign(this.#standing, { synced: false, hold });
  }

  assign(assignment: Assignment): void {
    const vmiUid = assignment.instance ? instanceUid(assignment.instance) : "";
    const current = this.#drivers.get(vmiUid)?.assignment;
    const admission = admit(assignment, current, this.#assigned.has(vmiUid));
    if (admission.answer === "refuse") return this.#tools.log.error({ vmiUid, reason: admission.reason }, "an assignment was refused");
    this.#assigned.add(vmiUid);
    if (admission.answer === "accept") this.#driver(vmiUid, "").assign(assignment);
    // Starts and stops come by the hundred, and no door hangs on them.
    if (moves(assignment) || moves(current)) this.#attendDoors();
  }

  withdraw(vmiUid: string): void {
    this.#assigned.delete(vmiUid);
    this.#drivers.get(vmiUid)?.assign(undefined);
    this.#attendDoors();
  }

  /** Everything that concerns the node has been assigned: what has not is no concern of it any more. */
  synced(): void {
    this.#standing.synced = true;
    for (const [vmiUid, driver] of this.#drivers) {
      if (this.#assigned.has(vmiUid)) driver.poke();
      else driver.assign(undefined);
    }
    this.#attendDoors();
  }

  /** Domains on this host without a record that this node knows. */
  foreignDomains(): string[] {
    return [...this.#strangers, ...[...this.#drivers.values()].flatMap(({ foreignName }) => foreignName ?? [])];
  }

  /** A run of the machine is assigned to this node, or its domain is here. */
  has(vmUid: string): boolean {
    return [...this.#drivers.values()].some((driver) => driver.vmUid === vmUid);
  }

  /** Uids of the open migrations that the node has a part in; undefined while it has not been told of all. */
  migrations(): ReadonlySet<string> | undefined {
    if (!this.#standing.synced || this.#standing.hold) return undefined;
    return new Set([...this.#drivers.values()].flatMap(({ assignment }) => assignment?.instance?.status?.migration?.uid ?? []));
  }

  /** How the node stands to a tunnel's machine. */
  stands({ vmiUid, epoch }: Pick<TunnelOffer, "vmiUid" | "epoch">): "owner" | "moved" | "unknown" {
    const assignment = this.#drivers.get(vmiUid)?.assignment;
    const status = assignment?.instance?.status;
    if (!assignment || !status) return "unknown";
    if (assignment.role !== AssignmentRole.OWNER) return "moved";
    return status.epoch >= epoch ? "owner" : "moved";
  }

  /** Of a machine that no record here speaks of nothing is done. */
  async act(wish: ActOnDomain): Promise<ActVerdict> {
    return (await this.#drivers.get(wish.vmiUid)?.act(wish)) ?? NOT_OWNER;
  }

  uids(vmiUid: string): { vmiUid: string; vmUid: string } {
    const owner = this.#drivers.get(vmiUid)?.assignment?.instance?.metadata?.ownerReferences.find(({ kind }) => kind === "VirtualMachine");
    return { vmiUid, vmUid: owner?.uid ?? vmiUid };
  }

  close(): void {
    for (const driver of this.#drivers.values()) driver.close();
    this.#tools.doors.stop();
  }

  /** A door stands as long as the record of its migration, which is known only when all records have been seen. */
  #attendDoors(): void {
    if (!this.#standing.synced || this.#standing.hold) return;
    const { nodeName } = this.#tools.self();
    const open = [...this.#drivers.values()].flatMap(({ assignment }) => openMigrationOf(assignment, nodeName) ?? []);
    const known = JSON.stringify(open);
    if (known === this.#doorsKnown) return;
    this.#doorsKnown = known;
    this.#tools.doors.attend(open);
  }

  async #receive(event: HypervisorEvent): Promise<void> {
    if (event.type === "disconnected" || event.type === "connected") {
      for (const driver of this.#drivers.values()) driver.forgetLook();
    }
    if (event.type === "disconnected") return;
    if (event.type === "connected") {
      // Nothing that was seen before counts: every machine is looked at.
      this.#standing.listed = false;
      return this.#relistSoon();
    }
    const drivers = [...this.#drivers.values()].filter(({ uuid }) => uuid === event.uuid);
    for (const driver of drivers) {
      if (event.type === "job-completed") driver.jobCompleted(event.stats);
      else if (event.type === "lifecycle") driver.happened(event);
    }
  }

  async #relistSoon(): Promise<void> {
    const { log, clock } = this.#tools;
    try {
      await this.relist();
    } catch (error) {
      log.warn({ error }, "the domains could not be listed");
      clock.after(RELIST_RETRY_MS, () => void (this.#standing.listed || this.#relistSoon()));
    }
  }

  #driver(vmiUid: string, uuid: string): MachineDriver {
    const present = this.#drivers.get(vmiUid);
    if (present) return present;
    const onDrop = () => {
      if (this.#drivers.get(vmiUid) === driver) this.#drivers.delete(vmiUid);
    };
    const driver = new MachineDriver(vmiUid, { uuid, tools: this.#tools, standing: this.#standing, onDrop });
    this.#drivers.set(vmiUid, driver);
    return driver;
  }
}

const moves = (assignment: Assignment | undefined): boolean => assignment?.instance?.status?.migration !== undefined;

function openMigrationOf(assignment: Assignment | undefined, nodeName: string): OpenMigration | undefined {
  const migration = assignment?.instance?.status?.migration;
  if (!migration) return undefined;
  const begun = (migration.source?.state ?? MigrationSourceState.UNSPECIFIED) !== MigrationSourceState.UNSPECIFIED;
  return { uid: migration.uid, kind: migration.targetNode === nodeName ? "door" : "passage", begun };
}
