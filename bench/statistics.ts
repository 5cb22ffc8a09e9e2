/** Figures from samples, pure: exact quantiles, and paired ratios with a seeded bootstrap interval. */

export type Pair = { ours: number; theirs: number };
/** With its 95 % interval. */
export type Estimate = { value: number; low: number; high: number };

const RESAMPLES = 2_000;
const SEED = 20_240_517;
const TAIL = 0.025;

/** The smallest sample that at least this part of all do not exceed; never interpolated. */
export function quantile(samples: readonly number[], part: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? NaN;
}

/** The mean of the middle two when their number is even. */
export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] ?? NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[sorted.length / 2 - 1] ?? NaN)) / 2;
}

export const medianRatio = (pairs: readonly Pair[]): Estimate =>
  bootstrap(pairs, (drawn) => median(drawn.map(({ ours, theirs }) => ours / theirs)));

/** A quantile of what ours took longer than theirs, pair by pair. */
export const overhead = (pairs: readonly Pair[], part: number): Estimate =>
  bootstrap(pairs, (drawn) => quantile(drawn.map(({ ours, theirs }) => ours - theirs), part));

/** How the statistic moves when the samples are drawn anew from themselves; the same samples give the same interval. */
export function bootstrap<T>(samples: readonly T[], statistic: (drawn: readonly T[]) => number): Estimate {
  const fraction = seeded(SEED);
  const draw = () => samples.map(() => samples[Math.floor(fraction() * samples.length)]!);
  const found = Array.from({ length: RESAMPLES }, () => statistic(draw()));
  return { value: statistic(samples), low: quantile(found, TAIL), high: quantile(found, 1 - TAIL) };
}

/** Mulberry32: a fraction in [0, 1) at each call. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
