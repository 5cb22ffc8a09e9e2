/**
 * Everything on its way from this agent to the records. Reports of state are levels: for each machine and part only
 * the latest one waits, and after a restart they are made anew from what libvirt shows, so they stay in memory. Events
 * cannot be made anew: they wait in a journal on disk, bounded; what did not fit is counted in one event of its own.
 */
import type { ReportRequest } from "../gen/drover/agent/v1/agent.ts";
import { Event, EventType } from "../gen/drover/v1/event.ts";
import { ObjectReference } from "../gen/drover/v1/event.ts";
import { backoffMs, RECONNECT } from "../lib/backoff.ts";
import type { Clock, Timer } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Random } from "../lib/random.ts";
import { isRevoked, Refused, REVOKED } from "./control-plane.ts";
import type { ControlPlane } from "./control-plane.ts";
import type { EventJournal, Kept } from "./event-journal.ts";

/** Where a report belongs; empty strings for the node itself. */
export type Address = { namespace: string; name: string; vmiUid: string; epoch: number };
export type Part = NonNullable<ReportRequest["part"]>;
type Level = { request: ReportRequest; onRefused: (refused: Refused) => void };

export type OutboxOptions = {
  controlPlane: ControlPlane;
  journal: EventJournal;
  agentInstance: string;
  /** From the Welcome; empty before the first. */
  nodeName: () => string;
  clock: Clock;
  random: Random;
  log: Logger;
};

const EVENTS = "events";
export const EVENTS_LIMIT = 500;
const IN_FLIGHT_LIMIT = 16;
export const NODE: Address = { namespace: "", name: "", vmiUid: "", epoch: 0 };

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #levels = new Map<string, Level>();
  readonly #busy = new Set<string>();
  readonly #events: Kept[];
  #lost = 0;
  #seq = 0;
  #acknowledgedSeq = 0;
  #attempt = 0;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
    // Only the present process is heard. An event that an earlier one did get through is told twice, and folded.
    const { agentInstance } = options;
    this.#events = options.journal.read().map(({ request }) => ({ request: { ...request, agentInstance, seq: this.generation() } }));
  }

  get acknowledgedSeq(): number {
    return this.#acknowledgedSeq;
  }

  /** Grows over everything that this agent process says, so over each machine's reports, too. */
  generation(): number {
    this.#seq += 1;
    return this.#seq;
  }

  /** Replaces what waits for the same machine and part. `onRefused` is told when the record no longer takes it. */
  submit(address: Address, part: Part, onRefused: (refused: Refused) => void = () => undefined): void {
    this.#levels.set(`${address.vmiUid}/${part.$case}`, { request: this.#request(address, part), onRefused });
    this.#pump();
  }

  /** Drops what waits for a machine that is no concern of this node any more. */
  forget(vmiUid: string): void {
    for (const key of this.#levels.keys()) if (key.startsWith(`${vmiUid}/`)) this.#levels.delete(key);
  }

  /** Something that happened. Kept on disk before this returns. */
  record(address: Address, event: Event): void {
    if (this.#events.length >= EVENTS_LIMIT) {
      this.#lost += 1;
      return;
    }
    const request = this.#request(address, { $case: "event", value: event });
    const kept: Kept = { request };
    this.#options.journal.append(kept);
    this.#events.push(kept);
    this.#pump();
  }

  /** The control plane answers again: what waits goes out now. */
  retryNow(): void {
    this.#attempt = 0;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#pump();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #request({ namespace, name, vmiUid, epoch }: Address, part: Part): ReportRequest {
    const seq = this.generation();
    return { agentInstance: this.#options.agentInstance, seq, namespace, name, vmiUid, epoch, part };
  }

  /** One report of each key at a time, so that a machine's words arrive in their order. */
  #pump(): void {
    if (this.#closed || this.#timer) return;
    for (const [key, level] of this.#levels) {
      if (this.#busy.size >= IN_FLIGHT_LIMIT) return;
      if (!this.#busy.has(key)) void this.#send(key, { ...level, done: () => this.#levelDone(key, level) });
    }
    const event = this.#events[0];
    if (event && !this.#busy.has(EVENTS)) {
      void this.#send(EVENTS, { request: event.request, onRefused: () => undefined, done: () => this.#eventDone() });
    }
  }

  async #send(key: string, { request, done, onRefused }: Level & { done: () => void }): Promise<void> {
    this.#busy.add(key);
    try {
      await this.#options.controlPlane.report(request);
      this.#acknowledgedSeq = Math.max(this.#acknowledgedSeq, request.seq);
      this.#attempt = 0;
      done();
    } catch (error) {
      if (error instanceof Refused) {
        this.#options.log.debug({ reason: error.reason, part: request.part?.$case, vmiUid: request.vmiUid }, "report refused");
        done();
        onRefused(error);
      } else {
        this.#retryLater(error);
      }
    } finally {
      this.#busy.delete(key);
      this.#pump();
    }
  }

  /** A newer level that came meanwhile stays. */
  #levelDone(key: string, level: Level): void {
    if (this.#levels.get(key) === level) this.#levels.delete(key);
  }

  #eventDone(): void {
    this.#events.shift();
    if (this.#lost > 0) {
      const lost = this.#lost;
      this.#lost = 0;
      this.record(NODE, this.#lossEvent(lost));
    }
    this.#options.journal.acknowledge(this.#events);
  }

  #lossEvent(lost: number): Event {
    return Event.create({
      regarding: ObjectReference.create({ kind: "Node", name: this.#options.nodeName() }),
      reason: "EventsLost",
      message: `${lost} events did not fit into the agent's outbox while the API server was away`,
      type: EventType.WARNING,
    });
  }

  #retryLater(error: unknown): void {
    if (this.#timer || this.#closed) return;
    this.#attempt += 1;
    const { clock, random, log } = this.#options;
    if (this.#attempt === 1) log.warn({ error }, "a report did not get through; it will be repeated");
    this.#timer = clock.after(backoffMs(isRevoked(error) ? REVOKED : RECONNECT, this.#attempt, random.fraction()), () => {
      this.#timer = undefined;
      this.#pump();
    });
  }
}
