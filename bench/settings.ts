/** What a run of the benchmarks is told. */
export type Settings = {
  /** Interleaved pairs of each comparison. */
  pairs: number;
  /** Less of everything: to try the benchmarks themselves. */
  quick: boolean;
  /** Progress, for whoever waits. */
  say: (line: string) => void;
};
