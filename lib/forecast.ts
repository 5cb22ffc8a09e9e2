/**
 * What a live migration will take, before it begins: rounds of pre-copy over memory that the guest changes meanwhile, with
 * speed and fixed costs learnt from migrations that have ended. Pure.
 */
import { ForecastBasis, MigrationForecast } from "../gen/drover/v1/preflight.ts";

/** A migration that succeeded. */
export type Sample = {
  sourceNode: string;
  targetNode: string;
  totalMs: number;
  downtimeMs: number;
  /** Sent, repeats included: in all, and of the memory. */
  bytes: number;
  memorySentBytes: number;
  /** The guest's memory. */
  memoryBytes: number;
  bytesPerSecond: number;
  /** Forecast by the model alone; 0 when nothing was. */
  modelDowntimeMs: number;
};

/** How a migration is let run. */
export type ForecastOptions = {
  /** 0 is unlimited. */
  bandwidthBytesPerSecond: number;
  downtimeMsMax: number;
  /** In which that is reached: the transfer begins with the first, and goes one on with each round that was not enough. */
  downtimeSteps: number;
  autoConverge: boolean;
  /** The guest may be handed over with its memory still to come. */
  postCopy: boolean;
};

export type ForecastInput = {
  memoryBytes: number;
  /** As much of it as the host really holds: what the guest never touched is not sent. Absent when nobody looked. */
  residentBytes?: number | undefined;
  /** Of disks that are copied along. */
  diskBytes?: number | undefined;
  /** What the guest changes within a second; absent when nobody knows. */
  dirty?: { bytesPerSecond: number; basis: ForecastBasis } | undefined;
  history: readonly Sample[];
  options: ForecastOptions;
};

const ROUNDS_MAX = 50;
/** Auto-converge begins in the third round at a fifth, and takes a tenth more in each that follows. */
const THROTTLED_FROM = 3;
const THROTTLE_FIRST = 0.2;
const THROTTLE_STEP = 0.1;
const THROTTLE_MAX = 0.99;
/** Of the memory that is changed again and again, a second's measure sees about half. */
const WORKING_SET_FACTOR = 2;

const MIB = 1024 ** 2;
/** Before anything was learnt: a gigabit's worth, and what libvirt needs around a transfer. */
const BANDWIDTH_BYTES_PER_SECOND = 110 * MIB;
const SETUP_MS = 500;
const SWITCH_OVER_MS = 150;
/** So many rounds are let pass before the first step is taken. */
const ROUNDS_BEFORE_STEP = 2;

export function forecast(input: ForecastInput): MigrationForecast {
  const { history, options, dirty } = input;
  const learnt = lessonsOf(history);
  const unlearnt = lessonsOf([]);
  const [raw, corrected] = [unlearnt, learnt].map((lessons) => transfer(input, lessons));
  const { bandwidth, bytes, rounds, converges } = corrected!;
  return MigrationForecast.create({
    durationMs: Math.round(corrected!.durationMs),
    downtimeMs: Math.round(corrected!.downtimeMs),
    bytes: Math.round(bytes),
    iterations: rounds,
    converges: converges || options.postCopy,
    basis: dirty?.basis ?? ForecastBasis.ASSUMED,
    dirtyBytesPerSecond: Math.round(dirty?.bytesPerSecond ?? 0),
    bandwidthBytesPerSecond: Math.round(bandwidth),
    samples: history.length,
    modelDurationMs: Math.round(raw!.durationMs),
    modelDowntimeMs: Math.round(raw!.downtimeMs),
  });
}

type Transfer = { durationMs: number; downtimeMs: number; bytes: number; rounds: number; converges: boolean; bandwidth: number };

/** The disks go first, and what is written to them meanwhile is left out of the reckoning. */
function transfer(input: ForecastInput, { bytesPerSecond, fixedMs, sentShare, switchOverMs }: Lessons): Transfer {
  const { memoryBytes, residentBytes, diskBytes = 0, options } = input;
  const { bandwidthBytesPerSecond: limit, postCopy } = options;
  const bandwidth = limit > 0 ? Math.min(limit, bytesPerSecond) : bytesPerSecond;
  const secondsFor = (bytes: number): number => bytes / bandwidth;
  // The host's share of an emulated guest counts the emulator's own memory, so that it only ever lowers what is expected.
  let left = Math.min(memoryBytes * sentShare, residentBytes || Infinity);
  let bytes = diskBytes;
  let rounds = 0;
  let converges = false;
  do {
    bytes += left;
    rounds += 1;
    left = dirtied(input, { seconds: secondsFor(left), round: rounds });
    converges = secondsFor(left) * 1000 <= allowedMs(options, rounds);
  } while (!converges && rounds < (postCopy ? THROTTLED_FROM : ROUNDS_MAX));
  const transferMs = secondsFor(bytes + left) * 1000;
  const standing = converges ? secondsFor(left) * 1000 : postCopy ? 0 : options.downtimeMsMax;
  return { durationMs: fixedMs + transferMs, downtimeMs: switchOverMs + standing, bytes: bytes + left, rounds: rounds + 1, converges, bandwidth };
}

/** How long the guest may stand still after so many rounds. */
function allowedMs({ downtimeMsMax, downtimeSteps }: ForecastOptions, rounds: number): number {
  const step = Math.max(1, rounds - ROUNDS_BEFORE_STEP);
  return downtimeMsMax * Math.min(1, step / Math.max(1, downtimeSteps));
}

/** Changed in that time: fast at first, ever slower as the same pages are written to again, and no more than there is. */
function dirtied({ memoryBytes, dirty, options }: ForecastInput, { seconds, round }: { seconds: number; round: number }): number {
  const throttle = options.autoConverge && round >= THROTTLED_FROM ? Math.min(THROTTLE_FIRST + THROTTLE_STEP * (round - THROTTLED_FROM), THROTTLE_MAX) : 0;
  const perSecond = (dirty?.bytesPerSecond ?? 0) * (1 - throttle);
  return Math.min(memoryBytes, WORKING_SET_FACTOR * perSecond * (1 - WORKING_SET_FACTOR ** -seconds));
}

type Lessons = {
  bytesPerSecond: number;
  /** Around the transfer itself. */
  fixedMs: number;
  /** Of the guest's memory. */
  sentShare: number;
  /** Of standing still, beside what is sent meanwhile. */
  switchOverMs: number;
};

function lessonsOf(history: readonly Sample[]): Lessons {
  const bytesPerSecond = median(history.map((sample) => sample.bytesPerSecond).filter(isPositive)) ?? BANDWIDTH_BYTES_PER_SECOND;
  const around = history.map(({ totalMs, bytes }) => Math.max(0, totalMs - (bytes / bytesPerSecond) * 1000));
  const shares = history.filter(({ memoryBytes }) => memoryBytes > 0).map(({ memorySentBytes, memoryBytes }) => Math.min(1, memorySentBytes / memoryBytes));
  const standing = history.map(({ downtimeMs, modelDowntimeMs }) => Math.max(0, downtimeMs - Math.max(0, modelDowntimeMs - SWITCH_OVER_MS)));
  return {
    bytesPerSecond,
    fixedMs: median(around) ?? SETUP_MS,
    sentShare: median(shares) ?? 1,
    switchOverMs: median(standing) ?? SWITCH_OVER_MS,
  };
}

const isPositive = (value: number): boolean => value > 0;

export function median(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
