/**
 * `npm run test:matrix`: every cell of the kill matrix on real hosts, into docs/matrix.json, each with the commit that it ran
 * at, and from there into docs/migration.md. Fails on a cell that failed, and on one that was never run.
 */
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../../../lib/clock.ts";
import { Fleet } from "../fleet.ts";
import { REPOSITORY } from "../guest.ts";
import { run } from "../process.ts";
import { missingOf, sorted, tableOf } from "./report.ts";
import type { Matrix, Ran } from "./report.ts";
import { furnish, MATRIX_FLEET, runCell } from "./run.ts";
import type { Bench } from "./run.ts";
import { cells, cellsNamed, nameOf } from "./table.ts";
import type { Cell } from "./table.ts";

const USAGE = `Usage: npm run test:matrix -- [--cells NAMES] [--from FILE] [--jobs N] [--for MINUTES] [--table]

  --cells NAMES  only these, with commas: Phase/party/fault, and "*" for any of a part
  --from FILE    what passed in this earlier run is not run again
  --jobs N       fleets side by side; default 1
  --for MINUTES  begin no cell after that
  --table        run nothing, write the table in docs/migration.md anew
`;
const RECORD = join(REPOSITORY, "docs/matrix.json");
const PAGE = join(REPOSITORY, "docs/migration.md");
const LOGS = join(REPOSITORY, ".cache/matrix");
const [TABLE_BEGINS, TABLE_ENDS] = ["<!-- matrix -->\n", "\n<!-- /matrix -->"];

const { values } = parseArgs({
  options: {
    cells: { type: "string" }, from: { type: "string" }, jobs: { type: "string", default: "1" }, for: { type: "string" },
    table: { type: "boolean", default: false }, help: { type: "boolean", default: false },
  },
});
if (values.help) console.log(USAGE);
else if (values.table) writeTable(read(RECORD));
else process.exitCode = (await runAll(values.cells === undefined ? cells : cellsNamed(values.cells))) ? 0 : 1;

async function runAll(wanted: readonly Cell[]): Promise<boolean> {
  const commit = await commitOf();
  const matrix: Matrix = values.from === undefined ? {} : read(values.from);
  const queue = wanted.filter((cell) => !matrix[nameOf(cell)]?.passed);
  const until = values.for === undefined ? Infinity : systemClock.monotonicMs() + Number(values.for) * 60_000;
  const next = (): Cell | undefined => (systemClock.monotonicMs() < until ? queue.shift() : undefined);
  const note = (cell: Cell, ran: Omit<Ran, "commit">): void => {
    matrix[nameOf(cell)] = { ...ran, commit };
    console.log(`${ran.passed ? "passed" : "FAILED"} ${nameOf(cell)} ${ran.end} ${ran.seconds} s${ran.fault === undefined ? "" : `: ${ran.fault}`}`);
    writeFileSync(RECORD, `${JSON.stringify(sorted(matrix), undefined, 1)}\n`);
  };
  await Promise.all(Array.from({ length: Number(values.jobs) }, () => work(next, note)));
  writeTable(matrix);
  const missing = missingOf(matrix, wanted);
  for (const line of missing) console.error(line);
  console.log(`${wanted.length - missing.length} of ${wanted.length} cells passed`);
  return missing.length === 0;
}

/** One fleet for cell after cell; a cell that failed may have left anything, so the next one gets another. */
async function work(next: () => Cell | undefined, note: (cell: Cell, ran: Omit<Ran, "commit">) => void): Promise<void> {
  let bench: Bench | undefined;
  try {
    for (let cell = next(); cell; cell = next()) {
      bench ??= await furnish(await Fleet.start(MATRIX_FLEET));
      const began = systemClock.monotonicMs();
      try {
        note(cell, { passed: true, ...(await runCell(bench, cell)) });
      } catch (error) {
        note(cell, { passed: false, end: "", seconds: Math.round((systemClock.monotonicMs() - began) / 1_000), fault: (error as Error).message });
        keepLogs(bench.fleet, cell);
        await bench.fleet[Symbol.asyncDispose]();
        bench = undefined;
      }
    }
  } finally {
    await bench?.fleet[Symbol.asyncDispose]();
  }
}

function keepLogs({ lab }: Fleet, cell: Cell): void {
  const directory = join(LOGS, nameOf(cell).replaceAll("/", "-"));
  cpSync(join(lab.directory, "log"), directory, { recursive: true });
  for (const host of lab.hosts()) cpSync(join(host.directory, "var/log"), join(directory, host.name), { recursive: true });
}

/** What is not committed has no name that anybody else could look up. */
async function commitOf(): Promise<string> {
  const git = (...args: string[]) => run("git", ["-C", REPOSITORY, ...args]);
  const changed = await git("status", "--porcelain", "--", ":!docs");
  return `${(await git("rev-parse", "--short=12", "HEAD")).trim()}${changed === "" ? "" : "-changed"}`;
}

function read(file: string): Matrix {
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Matrix) : {};
}

function writeTable(matrix: Matrix): void {
  const page = readFileSync(PAGE, "utf8");
  const [begins, ends] = [page.indexOf(TABLE_BEGINS), page.indexOf(TABLE_ENDS)];
  if (begins < 0 || ends < begins) throw new Error(`${PAGE} has no place for the table`);
  writeFileSync(PAGE, `${page.slice(0, begins + TABLE_BEGINS.length)}${tableOf(matrix)}${page.slice(ends)}`);
}
