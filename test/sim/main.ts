/** `npm run sim`: many seeds, or one with its story. */
import { parseArgs } from "node:util";
import { planOf } from "./plan/plan.ts";
import { tellStep } from "./plan/words.ts";
import { simulate } from "./simulate.ts";

const { values } = parseArgs({ options: { seeds: { type: "string", default: "300" }, seed: { type: "string" }, first: { type: "string", default: "1" } } });

if (values.seed !== undefined) {
  const plan = planOf(Number(values.seed));
  const result = await simulate(plan, { keepAll: true });
  console.log(result.lines.join("\n"));
  console.log(plan.steps.map(tellStep).join("\n"));
  console.log(JSON.stringify({ ...result, lines: undefined }, undefined, 1));
  process.exit(result.broken ? 1 : 0);
}
const first = Number(values.first);
let broken = 0;
for (let seed = first; seed < first + Number(values.seeds); seed += 1) {
  const began = performance.now();
  const result = await simulate(planOf(seed));
  const { events, migrations } = result;
  console.log(seed, `${Math.round(performance.now() - began)} ms`, events, JSON.stringify(migrations), result.broken ? `${result.broken.invariant} ${result.broken.message}` : "ok");
  if (result.broken) broken += 1;
}
process.exit(broken ? 1 : 0);
