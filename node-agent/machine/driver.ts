/**
 * One machine on this node: observes, decides, acts, and does so again until there is nothing to do. One thing at a
 * time; whatever happens meanwhile only makes it look once more, so restart, retry and first run are one path.
 */
import { DomainActOutcome } from "../../gen/drover/agent/v1/agent.ts";
import type { ActOnDomain, Assignment, LookupMachineResponse } from "../../gen/drover/agent/v1/agent.ts";
import { backoffMs } from "../../lib/backoff.ts";
import type { Timer } from "../../lib/clock.ts";
import { parseInstanceMetadata } from "../domain/metadata.ts";
import type { Domain, JobStats } from "../libvirt/hypervisor.ts";
import { progressOf, withDisks } from "../migration/source-act.ts";
import { act } from "./act.ts";
import { decide } from "./decide.ts";
import type { Action } from "./decide.ts";
import { callOf, judgeAct, NOT_OWNER, TOO_LATE } from "./domain-act.ts";
import type { ActVerdict } from "./domain-act.ts";
import { active, domainUuid, machineUid, newMemory } from "./observed.ts";
import { confirms, differs, isSwitchOver, needsFreshLook } from "./look.ts";
import type { LifecycleNews } from "./look.ts";
import type { Memory, Observed, Seen } from "./observed.ts";
import type { Pause, Subject, Tools } from "./tools.ts";

/** What all drivers share. `listed`: every domain of this host has been seen since the last connection to libvirt. */
export type Standing = { synced: boolean; hold: boolean; listed: boolean };

const FAILURE = { firstMs: 200, maxMs: 5_000, factor: 2 };
/** More steps than this without a rest mean that two looks contradict each other: rest, then look again. */
const STEPS_MAX = 20;
/** Wishes that are remembered, so that one which comes again is not carried out again. */
const ACTS_MAX = 64;
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
  /** `lastSeen` still stands: nothing has happened since that it does not show. */
  #isKept = false;
  /** What was told while a look was under way, which may or may not be in it; undefined when none is. */
  #meanwhile: LifecycleNews[] | undefined;
  #news = false;
  #running = false;
  #closed = false;
  /** Wishes that wait for the present step to end. */
  #asked: Asked[] = [];
  readonly #acts = new Map<string, Promise<ActVerdict>>();
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

  /** The machine whose run this is; empty while nothing has told. */
  get vmUid(): string {
    const instance = this.#assignment?.instance;
    return (instance ? machineUid(instance) : this.#lastSeen?.identity?.vmUid) ?? "";
  }

  /** The name of a domain here that is no record's, for the node's report. */
  get foreignName(): string | undefined {
    return this.#foreign ? this.#lastSeen?.name : undefined;
  }

  assign(assignment: Assignment | undefined): void {
    this.#assignment = assignment;
    if (assignment?.instance) this.#uuid = domainUuid(assignment.instance);
    this.#wake();
  }

  /** Whether a listing shows something else than the last look. */
  differs(domain: Domain | undefined): boolean {
    return differs(seenOf(domain), this.#lastSeen);
  }

  happened(event: LifecycleNews): void {
    if (isSwitchOver(event, this.#memory.source)) return this.forgetLook();
    if (this.#meanwhile) this.#meanwhile.push(event);
    else if (!this.#isKept || !confirms(event, this.#lastSeen)) this.poke();
  }

  /** What was seen may be old by now; there is no use in looking yet. */
  forgetLook(): void {
    this.#isKept = false;
  }

  seen(uuid: string): void {
    if (this.#uuid === "") this.#uuid = uuid;
  }

  jobCompleted(stats: JobStats): void {
    const { source } = this.#memory;
    if (!source) return;
    source.progress = withDisks(progressOf(stats), source.progress);
    source.complete = true;
    this.poke();
  }

  /** Carried out between two steps, on a look of its own; rejects with what libvirt said. */
  async act(wish: ActOnDomain): Promise<ActVerdict> {
    if (this.#closed) return NOT_OWNER;
    const name = `${wish.act} ${wish.requestId}`;
    const known = this.#acts.get(name);
    if (known) return known;
    const untilMs = this.#tools.clock.monotonicMs() + wish.timeoutMs;
    const verdict = new Promise<ActVerdict>((resolve, reject) => this.#asked.push({ wish, untilMs, resolve, reject }));
    this.#acts.set(name, verdict);
    const forget = () => void this.#acts.delete(name);
    // What was not done may be asked for again under the same name.
    verdict.then(({ outcome }) => outcome !== DomainActOutcome.DONE && forget(), forget);
    for (const oldest of this.#acts.keys()) if (this.#acts.size > ACTS_MAX) this.#acts.delete(oldest);
    this.#wake();
    return verdict;
  }

  /** Look again. */
  poke(): void {
    this.#isKept = false;
    this.#wake();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    for (const { resolve } of this.#asked.splice(0)) resolve(NOT_OWNER);
  }

  /** Decide again, on the last look if it stands. */
  #wake(): void {
    if (this.#closed) return;
    this.#news = true;
    this.#timer?.cancel();
    if (!this.#running) void this.#run();
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
      this.#isKept = false;
      this.#attempt += 1;
      this.#tools.log.warn({ error, vmiUid: this.vmiUid, attempt: this.#attempt }, "a machine's step failed; it will be tried again");
      return backoffMs(FAILURE, this.#attempt, this.#tools.random.fraction());
    }
  }

  async #step(): Promise<Pause> {
    for (let asked = this.#asked.shift(); asked; asked = this.#asked.shift()) await this.#carryOut(asked);
    const [observed, action] = this.#decideOnKept() ?? (await this.#decideOnFresh());
    if (action.do !== "wait") this.#tools.log.debug({ vmiUid: this.vmiUid, action }, "deciding");
    if (action.do !== "leave-foreign") this.#foreign = false;
    if (!needsFreshLook(action)) return act(action, this.#subject(observed), this.#tools);
    this.#isKept = false;
    return this.#looking(() => act(action, this.#subject(observed), this.#tools));
  }

  async #carryOut({ wish, untilMs, resolve, reject }: Asked): Promise<void> {
    try {
      const observed = await this.#look();
      const verdict = observed.nowMs >= untilMs ? TOO_LATE : judgeAct(observed, wish);
      this.#tools.log.info({ vmiUid: this.vmiUid, act: wish.act, outcome: verdict.outcome, requestId: wish.requestId }, "asked to act on the domain");
      if (verdict.outcome === DomainActOutcome.DONE) {
        this.forgetLook();
        await this.#tools.hypervisor[callOf(wish.act)](this.#uuid);
      }
      resolve(verdict);
    } catch (error) {
      reject(error);
    }
  }

  /** Undefined when the last look does not stand, or is not enough for what there is to do. */
  #decideOnKept(): [Observed, Action] | undefined {
    // What becomes of a migration is decided by evidence: the domain must never be older than the record.
    if (!this.#isKept || this.#assignment?.instance?.status?.migration) return undefined;
    const observed = this.#observed(this.#assignment, this.#lastSeen, undefined);
    const action = decide(observed);
    return needsFreshLook(action) ? undefined : [observed, action];
  }

  async #decideOnFresh(): Promise<[Observed, Action]> {
    const observed = await this.#look();
    return [observed, decide(observed)];
  }

  /** The record first: what is then seen of the domain is never older than it. */
  async #look(): Promise<Observed> {
    const assignment = this.#assignment;
    const job = await this.#looking(async () => {
      this.#keep(this.#uuid === "" ? undefined : seenOf(await this.#tools.hypervisor.get(this.#uuid)));
      return this.#job(assignment, this.#lastSeen);
    });
    return this.#observed(assignment, this.#lastSeen, job);
  }

  #keep(domain: Seen | undefined): void {
    this.#lastSeen = domain;
    this.#isKept = true;
  }

  /** An event may be older than the look or come of what it does not show yet; only in the first case is it enough. */
  async #looking<T>(look: () => Promise<T>): Promise<T> {
    const meanwhile: LifecycleNews[] = (this.#meanwhile = []);
    try {
      return await look();
    } finally {
      this.#meanwhile = undefined;
      if (!meanwhile.every((event) => this.#isKept && confirms(event, this.#lastSeen))) this.poke();
    }
  }

  #observed(assignment: Assignment | undefined, domain: Seen | undefined, job: JobStats | undefined): Observed {
    return {
      self: this.#tools.self(),
      assignment,
      domain,
      job,
      memory: this.#memory,
      lookup: this.#lookup,
      synced: this.#standing.synced && this.#standing.listed,
      hold: this.#standing.hold,
      nowMs: this.#tools.clock.monotonicMs(),
      quietMs: this.#tools.quietMs,
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
      seen: (domain) => this.#keep(seenOf(domain)),
      lookedUp: (answer) => (this.#lookup = answer),
      claimed: (instance) => {
        const before = observed.assignment;
        if (before && this.#assignment === before) this.#assignment = { ...before, instance };
      },
      foreign: (isForeign) => (this.#foreign = isForeign),
      isOpen: (migrationUid) => this.#assignment?.instance?.status?.migration?.uid === migrationUid,
      drop: () => {
        if (this.#assignment) return this.poke();
        this.close();
        this.#onDrop();
      },
    };
  }
}

type Asked = { wish: ActOnDomain; untilMs: number; resolve: (verdict: ActVerdict) => void; reject: (error: unknown) => void };

export function seenOf(domain: Domain): Seen;
export function seenOf(domain: Domain | undefined): Seen | undefined;
export function seenOf(domain: Domain | undefined): Seen | undefined {
  if (!domain) return undefined;
  const { uuid, name, state, reason, persistent, metadata } = domain;
  return { uuid, name, state, reason, persistent, identity: parseInstanceMetadata(metadata) };
}
