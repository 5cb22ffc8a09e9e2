/**
 * One machine on this node: observes, decides, acts, and does so again until there is nothing to do. One thing at a
 * time; whatever happens meanwhile only makes it look once more, so restart, retry and first run are one path.
 */
import type { Assignment, LookupMachineResponse } from "../../gen/drover/agent/v1/agent.ts";
import { backoffMs } from "../../lib/backoff.ts";
import type { Timer } from "../../lib/clock.ts";
import { parseInstanceMetadata } from "../domain/metadata.ts";
import type { Domain, JobStats } from "../libvirt/hypervisor.ts";
import { progressOf } from "../migration/source-act.ts";
import { act } from "./act.ts";
import { decide } from "./decide.ts";
import { active, domainUuid, newMemory } from "./observed.ts";
import type { Memory, Observed, Seen } from "./observed.ts";
import type { Pause, Subject, Tools } from "./tools.ts";

/** What all drivers share. `listed`: every domain of this host has been seen since the last connection to libvirt. */
export type Standing = { synced: boolean; hold: boolean; listed: boolean };

const FAILURE = { firstMs: 200, maxMs: 5_000, factor: 2 };
/** More steps than this without a rest mean that two looks contradict each other: rest, then look again. */
const STEPS_MAX = 20;
const REST_MS = 1_000;

export class MachineDriver {
  readonly vmiUid: string;
  readonly #tools: Tools;
  readonly #standing: Standing;
  readonly #onDrop: () => void;
  readonly #memory: Memory = newMemory();
  #assignment: Assignment | undefined;
  #uuid: string;
  #lookup: LookupMachineResponse | undefined;
  #foreign = false;
  #lastSeen: Seen | undefined;
  #news = false;
  #running = false;
  #closed = false;
  #attempt = 0;
  #timer: Timer | undefined;

  constructor(vmiUid: string, { uuid, tools, standing, onDrop }: { uuid: string; tools: Tools; standing: Standing; onDrop: () => void }) {
    this.vmiUid = vmiUid;
    this.#uuid = uuid;
    this.#tools = tools;
    this.#standing = standing;
    this.#onDrop = onDrop;
    this.#memory.ended = tools.endings.read(vmiUid);
  }

  get assignment(): Assignment | undefined {
    return this.#assignment;
  }

  get uuid(): string {
    return this.#uuid;
  }

  /** The name of a domain here that is no record's, for the node's report. */
  get foreignName(): string | undefined {
    return this.#foreign ? this.#lastSeen?.name : undefined;
  }

  assign(assignment: Assignment | undefined): void {
    this.#assignment = assignment;
    if (assignment?.instance) this.#uuid = domainUuid(assignment.instance);
    this.poke();
  }

  /** Whether a listing shows something else than the last look. */
  differs(domain: Domain | undefined): boolean {
    const last = this.#lastSeen;
    if (!domain || !last) return domain !== last;
    return domain.state !== last.state || domain.reason !== last.reason || domain.persistent !== last.persistent;
  }

  seen(uuid: string): void {
    if (this.#uuid === "") this.#uuid = uuid;
  }

  jobCompleted(stats: JobStats): void {
    const { source } = this.#memory;
    if (!source) return;
    source.progress = progressOf(stats);
    source.complete = true;
    this.poke();
  }

  poke(): void {
    if (this.#closed) return;
    this.#news = true;
    this.#timer?.cancel();
    if (!this.#running) void this.#run();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  async #run(): Promise<void> {
    this.#running = true;
    let pause: Pause = undefined;
    for (let steps = 0; !this.#closed && (this.#news || pause === undefined); steps += 1) {
      if (pause !== undefined) this.#lookup = undefined;
      this.#news = false;
      pause = steps < STEPS_MAX ? await this.#tryStep() : REST_MS;
      if (steps >= STEPS_MAX) break;
    }
    this.#running = false;
    this.#lookup = undefined;
    if (pause !== undefined && pause !== Infinity && !this.#closed) this.#timer = this.#tools.clock.after(pause, () => this.poke());
  }

  async #tryStep(): Promise<Pause> {
    try {
      const pause = await this.#step();
      this.#attempt = 0;
      return pause;
    } catch (error) {
      this.#attempt += 1;
      this.#tools.log.warn({ error, vmiUid: this.vmiUid, attempt: this.#attempt }, "a machine's step failed; it will be tried again");
      return backoffMs(FAILURE, this.#attempt, this.#tools.random.fraction());
    }
  }

  async #step(): Promise<Pause> {
    const observed = await this.#observe();
    const action = decide(observed);
    if (action.do !== "wait") this.#tools.log.debug({ vmiUid: this.vmiUid, action }, "deciding");
    if (action.do !== "leave-foreign") this.#foreign = false;
    return act(action, this.#subject(observed), this.#tools);
  }

  /** The record first: what is then seen of the domain is never older than it. */
  async #observe(): Promise<Observed> {
    const { hypervisor, clock, self } = this.#tools;
    const assignment = this.#assignment;
    const domain = this.#uuid === "" ? undefined : seenOf(await hypervisor.get(this.#uuid));
    this.#lastSeen = domain;
    return {
      self: self(),
      assignment,
      domain,
      job: await this.#job(assignment, domain),
      memory: this.#memory,
      lookup: this.#lookup,
      synced: this.#standing.synced && this.#standing.listed,
      hold: this.#standing.hold,
      nowMs: clock.monotonicMs(),
    };
  }

  async #job(assignment: Assignment | undefined, domain: Seen | undefined): Promise<JobStats | undefined> {
    const migration = assignment?.instance?.status?.migration;
    if (!migration || !domain || !active(domain) || migration.sourceNode !== this.#tools.self().nodeName) return undefined;
    return this.#tools.hypervisor.job(domain.uuid).catch(() => undefined);
  }

  #subject(observed: Observed): Subject {
    return {
      observed,
      memory: this.#memory,
      vmiUid: this.vmiUid,
      poke: () => this.poke(),
      lookedUp: (answer) => (this.#lookup = answer),
      claimed: (instance) => {
        const before = observed.assignment;
        if (before && this.#assignment === before) this.#assignment = { ...before, instance };
      },
      foreign: (isForeign) => (this.#foreign = isForeign),
      drop: () => {
        if (this.#assignment) return this.poke();
        this.close();
        this.#onDrop();
      },
    };
  }
}

export function seenOf(domain: Domain | undefined): Seen | undefined {
  if (!domain) return undefined;
  const { uuid, name, state, reason, persistent, metadata } = domain;
  return { uuid, name, state, reason, persistent, identity: parseInstanceMetadata(metadata) };
}
