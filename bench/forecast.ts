/**
 * How far forecasts of migrations are off: guests that idle and guests that rewrite their memory go to and fro, each move
 * forecast by CheckMigration right before. Errors are parts of what came, by the model alone and with what was learnt.
 */
import { MigrationPhase } from "../gen/drover/v1/migration.ts";
import type { VirtualMachineInstanceMigrationStatus } from "../gen/drover/v1/migration.ts";
import type { MigrationForecast } from "../gen/drover/v1/preflight.ts";
import { Fleet } from "../test/lab/fleet.ts";
import { Machine } from "../test/lab/machine.ts";
import { figure } from "./figure.ts";
import type { Figure, Report } from "./figure.ts";
import type { Settings } from "./settings.ts";
import { quantile } from "./statistics.ts";

/** `dirty=M,R` of the guest: M MiB rewritten over and over, R MiB a second. */
const GUESTS = { idle: "", mild: "dirty=16,4", busy: "dirty=32,16" } as const;
/** Of a guest's moves, the first ones have nothing to learn from. */
const SAMPLES_MIN = 3;
const HALF = 0.5;
const NINE_TENTHS = 0.9;

type Measured = { guest: string; forecast: MigrationForecast; status: VirtualMachineInstanceMigrationStatus };

export async function benchForecast({ quick, pairs, say }: Settings): Promise<Report[]> {
  const rounds = quick ? 2 : Math.min(pairs, 7);
  await using fleet = await Fleet.start({ apiServer: { logLevel: "info" }, controller: { logLevel: "info" } });
  const machines = await Promise.all(Object.entries(GUESTS).map(async ([guest, kernelArguments]) => ({ guest, machine: await Machine.running(fleet, guest, { kernelArguments, memory: "192Mi" }) })));
  const measured: Measured[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    for (const { guest, machine } of machines) {
      const one = await move(fleet, machine);
      const { forecast, status } = one;
      say(`forecast ${round}/${rounds} ${guest}: ${forecast.durationMs} ms (model ${forecast.modelDurationMs}), came ${status.figures!.totalMs}; down ${forecast.downtimeMs} (model ${forecast.modelDowntimeMs}), came ${status.figures!.downtimeMs}; dirty ${forecast.dirtyBytesPerSecond >> 20} MiB/s`);
      measured.push({ guest, ...one });
    }
  }
  return [report(measured)];
}

async function move(fleet: Fleet, machine: Machine): Promise<Omit<Measured, "guest">> {
  const { chosenNode, candidates, message } = await fleet.api.migrations.checkMigration({ namespace: "default", name: machine.name, targetNode: "", addedNodeSelector: {} });
  const forecast = candidates.find(({ node }) => node === chosenNode)?.forecast;
  if (!forecast) throw new Error(`${machine.name} cannot be moved: ${message}`);
  const { status } = await machine.migrationEnds(await machine.migrate({ to: chosenNode }));
  if (status?.phase !== MigrationPhase.SUCCEEDED || !status.figures) throw new Error(`${machine.name} did not move: ${status?.message}`);
  return { forecast, status };
}

type Which = (forecast: MigrationForecast) => number;
type What = "totalMs" | "downtimeMs";

function report(measured: readonly Measured[]): Report {
  const learnt = measured.filter(({ forecast }) => forecast.samples >= SAMPLES_MIN);
  const error = (name: string, among: readonly Measured[], part: number, what: What, which: Which): Figure => {
    const errors = among.map(({ forecast, status }) => Math.abs(status.figures![what] - which(forecast)) / Math.max(status.figures![what], 1));
    return figure(name, quantile(errors, part), "×", { note: `of what came, ${errors.length} migrations` });
  };
  const both = (name: string, what: What, { model, corrected }: { model: Which; corrected: Which }): Figure[] => [
    error(`${name}, by the model alone, median`, measured, HALF, what, model),
    error(`${name}, by the model alone, p90`, measured, NINE_TENTHS, what, model),
    error(`${name}, with history, median`, learnt, HALF, what, corrected),
    error(`${name}, with history, p90`, learnt, NINE_TENTHS, what, corrected),
  ];
  return {
    title: "Error of the forecast by CheckMigration, guests of 192 MiB: one idle, two that rewrite 16 and 32 MiB of their memory",
    figures: [
      ...both("duration", "totalMs", { model: ({ modelDurationMs }) => modelDurationMs, corrected: ({ durationMs }) => durationMs }),
      ...both("downtime", "downtimeMs", { model: ({ modelDowntimeMs }) => modelDowntimeMs, corrected: ({ downtimeMs }) => downtimeMs }),
    ],
  };
}
