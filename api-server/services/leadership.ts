/**
 * Which controller decides. Candidates stand in line by their streams and the first of them leads, so a leader that dies
 * is followed at once and one that lies still is followed after its lease. Kept in memory only: every write of a controller
 * names the version that it was decided on, so two leaders for a moment get in each other's way and harm nothing.
 */
import { LeadershipState, LeadResponse } from "../../gen/drover/control/v1/leadership.ts";
import type { LeadershipServiceImplementation, LeadRequest } from "../../gen/drover/control/v1/leadership.ts";
import { Channel } from "../../lib/channel.ts";
import type { Clock, Timer } from "../../lib/clock.ts";
import { InvalidArgument, Unavailable } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import type { WithCall } from "../objects.ts";

/** Silence after which a candidate is let go. Longer than a leader goes on without an answer, so that it stops first. */
const LAPSE_MS = 6_000;
const CANDIDATES_MAX = 16;
const ANSWERS_WAITING_MAX = 16;

export type LeadershipParts = { clock: Clock; log: Logger; stopping: AbortSignal };

type Candidate = { id: string; name: string; beat: number; answers: Channel<LeadResponse>; lapse: Timer };

export function leadershipService(parts: LeadershipParts): LeadershipServiceImplementation<WithCall> {
  const line = new Line(parts);
  parts.stopping.addEventListener("abort", () => line.dismissAll(), { once: true });
  return { lead: (requests, { signal }) => stand(line, requests, signal) };
}

async function* stand(line: Line, requests: AsyncIterable<LeadRequest>, signal: AbortSignal): AsyncGenerator<LeadResponse> {
  const beats = requests[Symbol.asyncIterator]();
  const first = await beats.next();
  if (first.done) return;
  const candidate = line.enter(first.value);
  const leave = () => line.leave(candidate);
  signal.addEventListener("abort", leave, { once: true });
  try {
    void listen(line, beats, candidate);
    yield* candidate.answers;
  } finally {
    signal.removeEventListener("abort", leave);
    leave();
  }
}

/** The end of the candidate's side ends its stream. */
async function listen(line: Line, beats: AsyncIterator<LeadRequest>, candidate: Candidate): Promise<void> {
  try {
    for (let next = await beats.next(); !next.done; next = await beats.next()) line.heard(candidate, next.value.beat);
    line.leave(candidate);
  } catch {
    line.leave(candidate);
  }
}

/** The candidates in the order in which they came; the first leads. */
class Line {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #stopping: AbortSignal;
  #candidates: readonly Candidate[] = [];

  constructor({ clock, log, stopping }: LeadershipParts) {
    this.#clock = clock;
    this.#log = log;
    this.#stopping = stopping;
  }

  enter({ candidateId: id, candidateName: name, beat }: LeadRequest): Candidate {
    if (id === "") throw new InvalidArgument([{ path: "candidate_id", message: "is required in the first message" }]);
    if (this.#stopping.aborted) throw stopped();
    // Whoever comes again has given its older stream up, whether or not the network has noticed.
    const older = this.#candidates.find((candidate) => candidate.id === id);
    if (older) this.leave(older, new Unavailable("The candidate has come again", { reason: "LEADERSHIP_REPLACED" }));
    if (this.#candidates.length >= CANDIDATES_MAX) throw new Unavailable(`At most ${CANDIDATES_MAX} candidates may wait`, { reason: "LEADERSHIP_CROWDED" });
    const candidate: Candidate = { id, name, beat, answers: new Channel(ANSWERS_WAITING_MAX), lapse: { cancel: () => undefined } };
    this.#candidates = [...this.#candidates, candidate];
    this.#log.info({ candidate: name, ahead: this.#candidates.length - 1 }, "a controller stands for leadership");
    this.heard(candidate, beat);
    return candidate;
  }

  heard(candidate: Candidate, beat: number): void {
    if (!this.#candidates.includes(candidate)) return;
    candidate.beat = beat;
    candidate.lapse.cancel();
    candidate.lapse = this.#clock.after(LAPSE_MS, () => this.leave(candidate, lapsed()));
    this.#answer(candidate);
  }

  leave(candidate: Candidate, reason?: Unavailable): void {
    const led = this.#candidates[0] === candidate;
    if (!this.#candidates.includes(candidate)) return;
    candidate.lapse.cancel();
    candidate.answers.close(reason);
    this.#candidates = this.#candidates.filter((other) => other !== candidate);
    const [next] = this.#candidates;
    this.#log.info({ candidate: candidate.name, led, next: next?.name }, "a controller stands no more");
    if (led && next) this.#answer(next);
  }

  dismissAll(): void {
    for (const candidate of this.#candidates.toReversed()) this.leave(candidate, stopped());
  }

  /** A candidate that does not read has its answers dropped: it will not see them in time anyway. */
  #answer(candidate: Candidate): void {
    const ahead = this.#candidates.indexOf(candidate);
    const state = ahead === 0 ? LeadershipState.LEADING : LeadershipState.WAITING;
    candidate.answers.offer(LeadResponse.create({ state, ahead, leaderName: this.#candidates[0]?.name ?? "", beat: candidate.beat }));
  }
}

const lapsed = () => new Unavailable("Nothing was heard of the candidate for too long", { reason: "LEADERSHIP_LAPSED" });
const stopped = () => new Unavailable("The server is stopping", { reason: "STOPPING" });
