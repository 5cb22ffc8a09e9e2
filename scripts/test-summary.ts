/** Adds up what the runs of the test reporter wrote, one JSON line each, and prints the sum alone on a line. */
import { readFileSync } from "node:fs";

type Counts = { passed: number; failed: number; skipped: number };

const runs = readFileSync(process.argv[2]!, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line) as Counts);
const sum = (key: keyof Counts) => runs.reduce((total, run) => total + run[key], 0);
process.stdout.write(`${sum("passed")} passed, ${sum("failed")} failed, ${sum("skipped")} skipped\n`);
