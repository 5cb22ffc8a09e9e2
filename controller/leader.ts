/**
 * Lets one controller decide at a time. This one stands in line at the API server by a stream and decides only while that
 * stream says that it leads and its beats are answered. It stops before the server would let somebody else begin; should a
 * frozen process come back later all the same, its writes lose by their versions.
 */
import { LeadershipServiceDefinition, LeadershipState, LeadRequest } from "../gen/drover/control/v1/leadership.ts";
import type { LeadResponse } from "../gen/drover/control/v1/leadership.ts";
import { backoffMs } from "../lib/backoff.ts";
import type { Backoff } from "../lib/backoff.ts";
import { Channel } from "../lib/channel.ts";
import type { Connection } from "../lib/client.ts";
import { delay, every } from "../lib/clock.ts";
import type { Clock, Timer } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Random } from "../lib/random.ts";

const BEAT_EVERY_MS = 1_000;
/** Counted from when the last answered beat was sent. The server waits for longer before it lets another one lead. */
const LEASE_MS = 4_000;
const BEATS_WAITING_MAX = 8;
/** Nobody decides while a lone controller waits, so it comes back soon. */
const RETURN: Backoff = { firstMs: 50, maxMs: 1_000, factor: 2 };

export type Leading = {
  connection: Connection;
  /** For people. */
  name: string;
  clock: Clock;
  random: Random;
  log: Logger;
  signal: AbortSignal;
  /** Runs while this controller leads; it has to return soon after its signal aborts. */
  term: (signal: AbortSignal) => Promise<void>;
};

/** Returns when the signal aborts, after the term under way has ended. */
export async function lead(leading: Leading): Promise<void> {
  const { connection, random, name, clock, log, signal } = leading;
  const client = connection.client(LeadershipServiceDefinition);
  const candidate = { candidateId: random.uuid(), candidateName: name };
  for (let attempt = 1; !signal.aborted; attempt += 1) {
    const began = clock.monotonicMs();
    const campaign = new Campaign(leading, candidate);
    try {
      await campaign.run((beats, ends) => client.lead(beats, { signal: ends }));
    } catch (error) {
      if (!signal.aborted) log[attempt > 3 ? "warn" : "debug"]({ error, attempt }, "not in the line of controllers, coming back");
    }
    if (clock.monotonicMs() - began > LEASE_MS) attempt = 1;
    await delay(clock, backoffMs(RETURN, attempt, random.fraction()), signal).catch(() => undefined);
  }
}

type Call = (beats: AsyncIterable<LeadRequest>, signal: AbortSignal) => AsyncIterable<LeadResponse>;

/** One stream, from its first beat to its end. */
class Campaign {
  readonly #leading: Leading;
  readonly #candidate: Pick<LeadRequest, "candidateId" | "candidateName">;
  readonly #over = new AbortController();
  readonly #beats = new Channel<LeadRequest>(BEATS_WAITING_MAX);
  readonly #sentAtMs = new Map<number, number>();
  #beat = 0;
  #answeredAtMs: number;
  #lease: Timer | undefined;
  #term: Promise<void> | undefined;

  constructor(leading: Leading, candidate: Pick<LeadRequest, "candidateId" | "candidateName">) {
    this.#leading = leading;
    this.#candidate = candidate;
    this.#answeredAtMs = leading.clock.monotonicMs();
  }

  async run(call: Call): Promise<void> {
    const { clock, signal } = this.#leading;
    const stop = () => this.#over.abort(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    const beating = every(clock, BEAT_EVERY_MS, { run: () => this.#send(), signal: this.#over.signal, onError: () => undefined });
    try {
      this.#renew();
      for await (const answer of call(this.#beats, this.#over.signal)) this.#take(answer);
    } finally {
      signal.removeEventListener("abort", stop);
      this.#over.abort(new Error("The stream of leadership has ended"));
      this.#lease?.cancel();
      this.#beats.close();
      await Promise.all([this.#term, beating]);
    }
  }

  #send(): void {
    this.#beat += 1;
    this.#sentAtMs.set(this.#beat, this.#leading.clock.monotonicMs());
    this.#beats.offer({ ...LeadRequest.create(this.#candidate), beat: this.#beat });
  }

  #take({ state, beat, leaderName, ahead }: LeadResponse): void {
    const { log } = this.#leading;
    this.#answeredAtMs = this.#sentAtMs.get(beat) ?? this.#answeredAtMs;
    for (const sent of this.#sentAtMs.keys()) if (sent < beat) this.#sentAtMs.delete(sent);
    this.#renew();
    if (state === LeadershipState.LEADING) this.#lead();
    else if (this.#term) throw new Error("Another controller leads");
    else if (beat === 1) log.info({ leader: leaderName, ahead }, "another controller leads, this one waits");
  }

  /** The lease runs from the beat that was answered, not from the answer, which may have lain in a buffer. */
  #renew(): void {
    const { clock } = this.#leading;
    this.#lease?.cancel();
    const leftMs = this.#answeredAtMs + LEASE_MS - clock.monotonicMs();
    this.#lease = clock.after(leftMs, () => this.#over.abort(new Error("No beat was answered in time")));
  }

  #lead(): void {
    if (this.#term) return;
    const { log, term } = this.#leading;
    log.info("this controller leads");
    this.#term = term(this.#over.signal).finally(() => {
      this.#over.abort(new Error("The term has ended"));
      log.info("this controller leads no more");
    });
    // Heard where the stream ends, which the line above sees to.
    this.#term.catch(() => undefined);
  }
}
