/**
 * `npm run sim`: many seeds, each a fleet's life; and the mutants, each of which has to be noticed. With --seed one seed and
 * its whole story. Fails on a broken rule, on a mutant that survives, and, as the release run, on what was never met.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { isMutant, MUTANT_SEEDS_MAX, MUTANTS, seedsFor } from "./mutants.ts";
import type { MutantName } from "./mutants.ts";
import { planOf } from "./plan/plan.ts";
import { tellStep } from "./plan/words.ts";
import { Coverage } from "./run/coverage.ts";
import { spread, Worker } from "./run/pool.ts";
import type { Outcome } from "./run/protocol.ts";

const USAGE = `Usage: npm run sim -- [--seeds N] [--first SEED] [--seed SEED] [--mutants | --mutant NAME] [--workers N] [--complete]

  --seeds N      run N seeds; default 300
  --first SEED   the first of them; default 1
  --seed SEED    run one, and print all that happened
  --mutants      also let every mutant be found
  --mutant NAME  let this one be found: ${Object.keys(MUTANTS).join(", ")}
  --workers N    processes; default one for each processor, at most 2
  --complete     fail on any cell or failpoint that was never met; as with 10000 seeds or more
`;
const RELEASE_SEEDS = 10_000;

const { values } = parseArgs({
  options: {
    seeds: { type: "string" }, first: { type: "string", default: "1" }, seed: { type: "string" }, mutants: { type: "boolean", default: false },
    mutant: { type: "string" }, workers: { type: "string" }, complete: { type: "boolean", default: false }, help: { type: "boolean", default: false },
  },
});
const workers = Number(values.workers ?? Math.min(2, availableParallelism()));

if (values.help) console.log(USAGE);
else if (values.seed !== undefined) await replay(Number(values.seed), values.mutant);
else {
  const count = Number(values.seeds ?? (values.mutant === undefined ? 300 : 0));
  const seeds = Array.from({ length: count }, (_, index) => Number(values.first) + index);
  const names = values.mutant === undefined ? (values.mutants ? (Object.keys(MUTANTS) as MutantName[]) : []) : [named(values.mutant)];
  const sound = await runSeeds(seeds);
  const found = await findMutants(names);
  process.exitCode = sound && found ? 0 : 1;
}

function named(name: string): MutantName {
  if (!isMutant(name)) throw new Error(`There is no mutant "${name}": ${Object.keys(MUTANTS).join(", ")}`);
  return name;
}

/** In this process, so that a debugger has it; the rule is broken before the programs are loaded. */
async function replay(seed: number, mutant: string | undefined): Promise<void> {
  if (mutant !== undefined) (await import("./mutants.ts")).breakRule(named(mutant));
  const { simulate } = await import("./simulate.ts");
  const plan = planOf(seed);
  const result = await simulate(plan, { keepAll: true });
  for (const line of result.lines) console.log(line);
  console.log(`\nThe plan of seed ${seed}:`);
  for (const step of plan.steps) console.log(`  ${tellStep(step)}`);
  console.log(`\ntrace ${result.traceHash}, ${result.events} events`);
  console.log(result.broken ? `BROKEN ${result.broken.invariant}: ${result.broken.message}` : "everything held");
  process.exitCode = result.broken ? 1 : 0;
}

async function runSeeds(seeds: readonly number[]): Promise<boolean> {
  if (seeds.length === 0) return true;
  const began = performance.now();
  const coverage = new Coverage();
  const broken: Outcome[] = [];
  let cpuMs = 0;
  const pool = Array.from({ length: workers }, () => new Worker());
  try {
    await spread(seeds, workers, async (seed) => {
      const worker = pool.shift()!;
      const outcome = await worker.seed(seed);
      pool.push(worker);
      cpuMs += outcome.cpuMs;
      coverage.add(outcome);
      if (!outcome.broken) return;
      broken.push(outcome);
      console.log(`seed ${seed}: ${outcome.broken.invariant}: ${outcome.broken.message}`);
    });
    const first = broken.toSorted((a, b) => a.seed - b.seed)[0];
    if (first?.broken) await tellStory(pool[0]!, first.seed, first.broken.invariant);
  } finally {
    for (const worker of pool) worker[Symbol.dispose]();
  }
  const seconds = (performance.now() - began) / 1_000;
  console.log(`${seeds.length} seeds, ${broken.length} broken, ${seconds.toFixed(0)} s, ${(cpuMs / seeds.length).toFixed(0)} ms of processor for each; ${coverage.summary()}`);
  const isComplete = values.complete || seeds.length >= RELEASE_SEEDS;
  if (isComplete && coverage.missing.length > 0) console.log(`never met: ${coverage.missing.join(", ")}`);
  return broken.length === 0 && !(isComplete && coverage.missing.length > 0);
}

async function tellStory(worker: Worker, seed: number, invariant: string): Promise<void> {
  const { steps, lines, message } = await worker.shrink(seed, invariant);
  console.log(`\nSeed ${seed} breaks ${invariant}. Its story, as short as it gets (the whole of it: npm run sim -- --seed ${seed}):`);
  for (const step of steps) console.log(`  ${step}`);
  console.log(`What happened last:\n${lines.map((line) => `  ${line}`).join("\n")}\n${message}\n`);
}

async function findMutants(names: readonly MutantName[]): Promise<boolean> {
  let survivors = 0;
  await spread(names, workers, async (name) => {
    using worker = new Worker(name);
    for (const seed of seedsFor(name)) {
      const { broken } = await worker.seed(seed);
      if (!broken) continue;
      console.log(`mutant ${name}: found by seed ${seed}: ${broken.invariant}: ${broken.message.slice(0, 160)}`);
      return;
    }
    survivors += 1;
    console.log(`mutant ${name}: SURVIVED ${MUTANT_SEEDS_MAX} seeds`);
  });
  return survivors === 0;
}
