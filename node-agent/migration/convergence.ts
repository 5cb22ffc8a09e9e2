/**
 * Whether a running transfer converges, and what is done when it does not (pure). Each sample of libvirt's figures gives one
 * step: raise the allowed downtime, or at the limit or after a stall the action that the record's options name. Time is
 * libvirt's own, counted from the job's beginning, so that a restarted agent goes on with the same limit. Nothing here ends
 * a migration: it only has libvirt asked, and the end is evidence. In post-copy nothing is asked at all.
 */
import { MigrationMode, MigrationTimeoutAction } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { MigrationOptions } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { JobStats } from "../libvirt/hypervisor.ts";

/** QEMU's own, until it is told otherwise. */
export const DOWNTIME_FIRST_MS = 300;
/** The first rounds only say how fast memory is sent and changed. */
const ROUNDS_FIRST = 3;
const RAISE_EVERY_MS = 10_000;
/** What is left must fall by this share to count as progress. */
const PROGRESS_SHARE = 0.04;
/** Weight of the newest bandwidth. */
const BANDWIDTH_WEIGHT = 0.4;

export type Sample = {
  elapsedMs: number;
  iteration: number;
  processedBytes: number;
  remainingBytes: number;
  bytesPerSecond: number;
  throttlePercent: number;
};

/** What is remembered from sample to sample. */
export type Convergence = {
  sample: Sample;
  /** Undefined until it was set: QEMU's own. */
  downtimeLimitMs: number | undefined;
  /** When something last changed that can make it converge: the downtime, the throttle. */
  movedMs: number;
  /** When what is left after a round was last less than ever, or the first round went on. */
  improvedMs: number;
  /** The least that was left at the beginning of a round. */
  leastBytes: number;
  /** The most that was left in the present round, which is what was left at its beginning. */
  roundBytes: number;
  /** When memory was last sent. */
  sentMs: number;
  bytesPerSecond: number;
  /** When the guest was first seen paused by the agent. */
  pausedMs: number | undefined;
};

export type Step =
  | { do: "go-on" }
  | { do: "set-downtime"; milliseconds: number }
  /** Stop the guest, so that what is left can move. */
  | { do: "pause"; why: string }
  | { do: "post-copy"; why: string }
  /** Ask libvirt to abort. */
  | { do: "give-up"; why: string };

export type Situation = { before: Convergence | undefined; sample: Sample; mode: MigrationMode; options: MigrationOptions };

export function converge({ before, sample, mode, options }: Situation): { after: Convergence; step: Step } {
  const after = seen(before, sample, mode);
  const step = stepFor(after, mode, options);
  if (step.do !== "set-downtime") return { after, step };
  return { after: { ...after, downtimeLimitMs: step.milliseconds, movedMs: sample.elapsedMs }, step };
}

/** Disks are copied before memory is, and until then there are figures of them alone. Of a job that is being aborted libvirt says nought. */
export const hasFigures = ({ memoryTotalBytes = 0, diskTotalBytes = 0 }: JobStats): boolean => memoryTotalBytes > 0 || diskTotalBytes > 0;

/** Undefined while libvirt gives no figures: at the beginning and the end of a job. */
export function sampleOf(job: JobStats): Sample | undefined {
  if (job.elapsedMs === undefined || !hasFigures(job)) return undefined;
  return {
    elapsedMs: job.elapsedMs,
    iteration: job.iteration ?? 0,
    processedBytes: (job.memoryProcessedBytes ?? 0) + (job.diskProcessedBytes ?? 0),
    remainingBytes: (job.memoryRemainingBytes ?? 0) + (job.diskRemainingBytes ?? 0),
    bytesPerSecond: job.memoryBytesPerSecond ?? 0,
    throttlePercent: job.throttlePercent ?? 0,
  };
}

function seen(before: Convergence | undefined, sample: Sample, mode: MigrationMode): Convergence {
  const { elapsedMs, remainingBytes, bytesPerSecond } = sample;
  const paused = mode === MigrationMode.PAUSED;
  if (!before) {
    return {
      sample, downtimeLimitMs: undefined, movedMs: 0, improvedMs: elapsedMs, leastBytes: Infinity, roundBytes: remainingBytes,
      sentMs: elapsedMs, bytesPerSecond, pausedMs: paused ? elapsedMs : undefined,
    };
  }
  const round = roundOf(before, sample);
  return {
    ...before,
    ...round,
    sample,
    movedMs: sample.throttlePercent > before.sample.throttlePercent ? elapsedMs : before.movedMs,
    sentMs: sample.processedBytes > before.sample.processedBytes ? elapsedMs : before.sentMs,
    bytesPerSecond: bytesPerSecond > 0 ? average(before.bytesPerSecond, bytesPerSecond) : before.bytesPerSecond,
    pausedMs: paused ? (before.pausedMs ?? elapsedMs) : undefined,
  };
}

const average = (before: number, now: number): number => (before === 0 ? now : before + BANDWIDTH_WEIGHT * (now - before));

type Round = Pick<Convergence, "improvedMs" | "leastBytes" | "roundBytes">;

/** Within a round what is left always falls: only the beginnings of rounds can be compared. */
function roundOf({ sample: last, improvedMs, leastBytes, roundBytes }: Convergence, { iteration, elapsedMs, remainingBytes }: Sample): Round {
  if (iteration <= last.iteration) {
    // The first round is progress as long as it lasts.
    const first = iteration <= 1;
    return { leastBytes, improvedMs: first ? elapsedMs : improvedMs, roundBytes: Math.max(roundBytes, remainingBytes) };
  }
  const improved = roundBytes < leastBytes * (1 - PROGRESS_SHARE);
  return {
    improvedMs: improved ? elapsedMs : improvedMs,
    leastBytes: Math.min(leastBytes, roundBytes),
    roundBytes: remainingBytes,
  };
}

function stepFor(state: Convergence, mode: MigrationMode, options: MigrationOptions): Step {
  if (mode === MigrationMode.POST_COPY) return { do: "go-on" };
  if (mode === MigrationMode.PAUSED) return whilePaused(state, options);
  const { completionTimeoutSeconds } = options;
  if (completionTimeoutSeconds > 0 && state.sample.elapsedMs >= completionTimeoutSeconds * 1000) {
    return actionFor(options, `it did not converge within ${completionTimeoutSeconds} s: ${standing(state)}`);
  }
  const downtime = nextDowntime(state, options);
  if (downtime !== undefined) return { do: "set-downtime", milliseconds: downtime };
  const stalled = stall(state, options);
  return stalled === undefined ? { do: "go-on" } : actionFor(options, stalled);
}

function actionFor({ timeoutAction, postCopy }: MigrationOptions, why: string): Step {
  if (timeoutAction === MigrationTimeoutAction.POST_COPY && postCopy) return { do: "post-copy", why };
  return timeoutAction === MigrationTimeoutAction.PAUSE ? { do: "pause", why } : { do: "give-up", why };
}

/** A guest that stands still makes nothing dirty: it is done soon, or something is wrong with the way. */
function whilePaused(state: Convergence, { completionTimeoutSeconds, progressTimeoutSeconds }: MigrationOptions): Step {
  const { sample, pausedMs = sample.elapsedMs, sentMs } = state;
  const pausedForMs = sample.elapsedMs - pausedMs;
  if (completionTimeoutSeconds > 0 && pausedForMs >= completionTimeoutSeconds * 1000) {
    return { do: "give-up", why: `it did not end within ${completionTimeoutSeconds} s although the guest stood still: ${standing(state)}` };
  }
  const silentForMs = sample.elapsedMs - Math.max(sentMs, pausedMs);
  if (progressTimeoutSeconds > 0 && silentForMs >= progressTimeoutSeconds * 1000) {
    return { do: "give-up", why: `nothing was sent for ${progressTimeoutSeconds} s although the guest stood still: ${standing(state)}` };
  }
  return { do: "go-on" };
}

/** Undefined while there is progress, or something that was tried can still bring it. */
function stall(state: Convergence, { progressTimeoutSeconds }: MigrationOptions): string | undefined {
  const { sample, improvedMs, movedMs, sentMs } = state;
  const windowMs = progressTimeoutSeconds * 1000;
  if (windowMs === 0) return undefined;
  if (sample.elapsedMs - sentMs >= windowMs) return `nothing was sent for ${progressTimeoutSeconds} s: ${standing(state)}`;
  const still = sample.elapsedMs - Math.max(improvedMs, movedMs) >= windowMs;
  return still && sample.iteration > ROUNDS_FIRST ? `no less was left in ${progressTimeoutSeconds} s: ${standing(state)}` : undefined;
}

/** The next step of the downtime, where one is due: as many at once as what is left would need. Never above the maximum. */
function nextDowntime(state: Convergence, { maxDowntimeMs, downtimeSteps }: MigrationOptions): number | undefined {
  const { sample, downtimeLimitMs, movedMs } = state;
  const firstMs = Math.min(DOWNTIME_FIRST_MS, maxDowntimeMs);
  if (downtimeLimitMs === undefined && firstMs < DOWNTIME_FIRST_MS) return firstMs;
  const presentMs = downtimeLimitMs ?? firstMs;
  const due = sample.iteration >= ROUNDS_FIRST && sample.elapsedMs - movedMs >= RAISE_EVERY_MS;
  if (!due || presentMs >= maxDowntimeMs) return undefined;
  const steps = Array.from({ length: downtimeSteps }, (_, index) => Math.round(firstMs + ((maxDowntimeMs - firstMs) * (index + 1)) / downtimeSteps));
  const above = steps.filter((step) => step > presentMs);
  return above.find((step) => step >= expectedDowntimeMs(state)) ?? above[0];
}

function expectedDowntimeMs({ leastBytes, roundBytes, bytesPerSecond }: Convergence): number {
  const left = Math.min(leastBytes, roundBytes);
  return bytesPerSecond > 0 ? (left / bytesPerSecond) * 1000 : Infinity;
}

const MIB = 1024 * 1024;
const mebibytes = (bytes: number): string => (bytes / MIB).toFixed(1);

function standing({ sample, bytesPerSecond }: Convergence): string {
  const throttle = sample.throttlePercent > 0 ? `, the guest slowed by ${sample.throttlePercent} %` : "";
  return `${mebibytes(sample.remainingBytes)} MiB left in round ${sample.iteration} at ${mebibytes(bytesPerSecond)} MiB/s${throttle}`;
}
