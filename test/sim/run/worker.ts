/** One process, one thread: simulates the seeds that it is given, one after the other; with a broken rule, if one is named. */
import { enableCompileCache } from "node:module";
import { breakRule, isMutant } from "../mutants.ts";
import type { Order, Word } from "./protocol.ts";

// Every worker loads the same programs: their types are stripped once.
enableCompileCache();
const name = process.argv[2] ?? "";
const mutant = isMutant(name) ? name : undefined;
if (mutant) breakRule(mutant);
const { simulate } = await import("../simulate.ts");
const { planOf } = await import("../plan/plan.ts");
const { tellStep } = await import("../plan/words.ts");
const { shrink } = await import("./shrink.ts");

// Where an error came from is told by a replay; here thousands are made that somebody expects.
Error.stackTraceLimit = 0;
const STORY_LINES = 60;

const say = (word: Word): void => void process.send!(word);
const cpuMs = (): number => process.cpuUsage().user / 1_000;

async function obey(order: Order): Promise<void> {
  const plan = planOf(order.seed);
  if (order.do === "seed") {
    const beganMs = cpuMs();
    const { lines: _, ...outcome } = await simulate(plan);
    return say({ word: "outcome", outcome: { ...outcome, cpuMs: cpuMs() - beganMs } });
  }
  const small = await shrink(plan, order.invariant, simulate);
  const lines = small.result.lines.filter((line) => !line.includes(" commit ")).slice(-STORY_LINES);
  say({ word: "story", seed: order.seed, steps: small.plan.steps.map(tellStep), lines, message: small.result.broken?.message ?? "" });
}

process.on("message", (order) => void obey(order as Order));
process.on("disconnect", () => process.exit(0));
say({ word: "ready", mutant });
