/** `npm run bench -- [PART...] [--quick] [--pairs N]`: measures, prints, and keeps the table in docs/performance.md. */
import { parseArgs } from "node:util";
import { asText, holds } from "./figure.ts";
import type { Report } from "./figure.ts";
import { keepResults } from "./record.ts";
import type { Settings } from "./settings.ts";

const PAIRS = 20;
const QUICK_PAIRS = 4;

/** In the order in which they run. Each is loaded when it is wanted. */
const PARTS: Record<string, (settings: Settings) => Promise<Report[]>> = {
  start: async (settings) => (await import("./start.ts")).benchStart(settings),
  stop: async (settings) => (await import("./stop.ts")).benchStop(settings),
  migrate: async (settings) => (await import("./migrate.ts")).benchMigrate(settings),
  forecast: async (settings) => (await import("./forecast.ts")).benchForecast(settings),
  "migrate-dirty": async (settings) => (await import("./migrate.ts")).benchMigrateDirty(settings),
  "migrate-many": async (settings) => (await import("./many-moves.ts")).benchMigrateMany(settings),
  drain: async (settings) => (await import("./many-moves.ts")).benchDrain(settings),
  density: async (settings) => (await import("./density.ts")).benchDensity(settings),
  share: async (settings) => (await import("./share.ts")).benchShare(settings),
  "start-cost": async (settings) => (await import("./cost.ts")).benchStartCost(settings),
  "migration-cost": async (settings) => (await import("./cost.ts")).benchMigrationCost(settings),
  api: async (settings) => (await import("./api.ts")).benchApi(settings),
  trust: async (settings) => (await import("./trust.ts")).benchTrust(settings),
  "slow-disk": async (settings) => (await import("./slow-disk.ts")).benchSlowDisk(settings),
};

class Usage extends Error {
  override name = "Usage";
}

function readArguments(): { parts: string[]; settings: Settings } {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { quick: { type: "boolean", default: false }, pairs: { type: "string" } },
  });
  const unknown = positionals.filter((name) => !(name in PARTS));
  const pairs = Number(values.pairs ?? (values.quick ? QUICK_PAIRS : PAIRS));
  if (unknown.length > 0 || !Number.isInteger(pairs) || pairs < 1) {
    throw new Usage(`usage: npm run bench -- [${Object.keys(PARTS).join("] [")}] [--quick] [--pairs N]`);
  }
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  return { parts: positionals.length > 0 ? positionals : Object.keys(PARTS), settings: { pairs, quick: values.quick, say } };
}

async function main(): Promise<number> {
  const { parts, settings } = readArguments();
  let failed = 0;
  for (const name of parts) {
    settings.say(`== ${name}`);
    try {
      const reports = await PARTS[name]!(settings);
      for (const report of reports) process.stdout.write(`${asText(report)}\n`);
      if (!settings.quick) keepResults(name, reports);
      failed += reports.flatMap(({ figures }) => figures).filter((figure) => holds(figure) === false).length;
    } catch (error) {
      failed++;
      settings.say(`== ${name} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    }
  }
  process.stdout.write(failed === 0 ? "\nEvery bound holds.\n" : `\n${failed} bounds do not hold or could not be measured.\n`);
  return failed === 0 ? 0 : 1;
}

// The clock's timers keep no process alive, and neither do the programs that are waited for.
const ALIVE_EVERY_MS = 1_000;
setInterval(() => undefined, ALIVE_EVERY_MS);

try {
  process.exit(await main());
} catch (error) {
  if (!(error instanceof Usage)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(2);
}
