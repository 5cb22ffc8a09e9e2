/** Tells people what happened, as events. Best effort: nothing waits for it, and what cannot be told in time is dropped. */
import { Event } from "../gen/drover/v1/event.ts";
import { ObjectMeta } from "../gen/drover/v1/meta.ts";
import { Channel } from "../lib/channel.ts";
import { deadline, delay } from "../lib/clock.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Notice } from "./actions.ts";
import type { Clients } from "./api.ts";

const WAITING_MAX = 512;
const REMEMBERED_MAX = 4_096;
/** A start tells of two things, and one seldom comes alone: a call of its own for each would be a fifth of all calls. */
const GATHER_MS = 250;
const TOLD_AT_ONCE_MAX = 64;
const CALL_TIMEOUT_MS = 5_000;
const MESSAGE_LENGTH_MAX = 1_024;

export class Notices {
  readonly #waiting = new Channel<Notice>(WAITING_MAX);
  /** The last message for each object and reason: loops say the same thing again and again. */
  readonly #said = new Map<string, string>();

  say(notice: Notice): void {
    const subject = `${notice.about.metadata.uid}/${notice.reason}`;
    if (this.#said.get(subject) === notice.message && notice.reason !== "Started") return;
    if (!this.#waiting.offer(notice)) return;
    this.#said.delete(subject);
    this.#said.set(subject, notice.message);
    if (this.#said.size > REMEMBERED_MAX) this.#forgetOldest();
  }

  /** Returns when the signal aborts. */
  async deliver({ clients, clock, log, signal }: { clients: Pick<Clients, "controlEvents">; clock: Clock; log: Logger; signal: AbortSignal }): Promise<void> {
    if (signal.aborted) return;
    signal.addEventListener("abort", () => this.#waiting.close(), { once: true });
    for await (const first of this.#waiting) {
      if (this.#waiting.length < TOLD_AT_ONCE_MAX) await delay(clock, GATHER_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      const events = [first, ...this.#waiting.take(TOLD_AT_ONCE_MAX - 1)].map(eventOf);
      using limit = deadline(clock, CALL_TIMEOUT_MS, signal);
      const told = clients.controlEvents.recordEvents({ events }, { signal: limit.signal });
      await told.catch((error: unknown) => log.debug({ error, reasons: events.map(({ reason }) => reason) }, "events lost"));
    }
  }

  #forgetOldest(): void {
    for (const subject of this.#said.keys()) {
      this.#said.delete(subject);
      return;
    }
  }
}

export function eventOf({ kind, about, reason, message, type }: Notice): Event {
  const { namespace, name, uid } = about.metadata;
  return Event.create({
    metadata: ObjectMeta.create({ namespace }),
    regarding: { kind, namespace, name, uid },
    reason,
    message: message.slice(0, MESSAGE_LENGTH_MAX),
    type,
    source: "controller",
  });
}
