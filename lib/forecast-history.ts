/** What past migrations teach about the next one, read from their records, and how far a forecast was off. Pure. */
import { MigrationPhase } from "../gen/drover/v1/migration.ts";
import type { VirtualMachineInstanceMigration } from "../gen/drover/v1/migration.ts";
import { ForecastBasis, ForecastError, MigrationFigures } from "../gen/drover/v1/preflight.ts";
import type { MigrationForecast } from "../gen/drover/v1/preflight.ts";
import type { MigrationOptions, MigrationProgress, VirtualMachineInstance } from "../gen/drover/v1/virtual_machine_instance.ts";
import { forecast } from "./forecast.ts";
import type { Sample } from "./forecast.ts";
import { quantityBytes } from "./quantity.ts";

type Migration = VirtualMachineInstanceMigration;

/** Fewer of the same pair of nodes say less than many of the fleet. */
const PAIR_SAMPLES_MIN = 3;
const SAMPLES_MAX = 20;
const MIB = 1024 ** 2;

/** What was seen of the running domain just before. */
export type Inspected = { residentBytes: number; dirtyBytesPerSecond?: number | undefined };

type OneMove = {
  instance: VirtualMachineInstance;
  targetNode: string;
  /** Of disks that are copied along. */
  diskBytes: number;
  options: Pick<MigrationOptions, "bandwidthMibPerSecond" | "maxDowntimeMs" | "downtimeSteps" | "autoConverge" | "postCopy">;
  inspected?: Inspected | undefined;
};

/** `past`: in any order, unfinished and failed ones too. */
export type Move = OneMove & { past: readonly Migration[] };

/** For several moves at a time: what has been is put in order once. */
export function forecaster(past: readonly Migration[]): (move: OneMove) => MigrationForecast {
  const ended = newestFirst(past);
  return (move) => forecastBy(ended, move);
}

export const forecastMove = ({ past, ...move }: Move): MigrationForecast => forecaster(past)(move);

function forecastBy(ended: readonly Migration[], { instance, targetNode, diskBytes, options, inspected }: OneMove): MigrationForecast {
  const { metadata, spec, status } = instance;
  const last = ended.find((migration) => migration.spec?.vmiName === metadata?.name && migration.metadata?.namespace === metadata?.namespace);
  return forecast({
    memoryBytes: quantityBytes(spec?.domain?.memory?.guest ?? "0"),
    residentBytes: inspected?.residentBytes,
    diskBytes,
    dirty: dirtyOf(inspected, last),
    history: samplesFor(ended, { sourceNode: status?.nodeName ?? "", targetNode }),
    options: {
      bandwidthBytesPerSecond: options.bandwidthMibPerSecond * MIB,
      downtimeMsMax: options.maxDowntimeMs,
      downtimeSteps: options.downtimeSteps,
      autoConverge: options.autoConverge,
      postCopy: options.postCopy,
    },
  });
}

function dirtyOf(inspected: Inspected | undefined, last: Migration | undefined): Parameters<typeof forecast>[0]["dirty"] {
  const measured = inspected?.dirtyBytesPerSecond;
  if (measured !== undefined) return { bytesPerSecond: measured, basis: ForecastBasis.MEASURED };
  return last && { bytesPerSecond: last.status!.progress!.dirtyBytesPerSecond, basis: ForecastBasis.HISTORY };
}

/** The newest ones of the same pair of nodes, or of the whole fleet where the pair has few. */
function samplesFor(ended: readonly Migration[], { sourceNode, targetNode }: { sourceNode: string; targetNode: string }): Sample[] {
  const pair = ended.filter(({ status }) => status!.sourceNode === sourceNode && status!.targetNode === targetNode);
  return (pair.length >= PAIR_SAMPLES_MIN ? pair : ended).slice(0, SAMPLES_MAX).map(sampleOf);
}

const newestFirst = (past: readonly Migration[]): Migration[] =>
  past.filter(hasFigures).toSorted((a, b) => endOf(b) - endOf(a));

const hasFigures = ({ status }: Migration): boolean =>
  status?.phase === MigrationPhase.SUCCEEDED && status.progress !== undefined && status.figures !== undefined;

const endOf = ({ status }: Migration): number => status?.transitions.at(-1)?.time?.getTime() ?? 0;

function sampleOf({ status }: Migration): Sample {
  const { sourceNode, targetNode, progress, figures, forecast: made } = status!;
  const { totalMs, downtimeMs, bytes } = figures!;
  const { memoryTotalBytes, memoryProcessedBytes, memoryBytesPerSecond } = progress!;
  return {
    sourceNode, targetNode, totalMs, downtimeMs, bytes,
    memoryBytes: memoryTotalBytes,
    memorySentBytes: memoryProcessedBytes,
    bytesPerSecond: memoryBytesPerSecond,
    modelDowntimeMs: made?.modelDowntimeMs ?? 0,
  };
}

/** Undefined without the hypervisor's last figures, which come only with a guest that has moved. */
export function figuresOf(progress: MigrationProgress | undefined): MigrationFigures | undefined {
  if (!progress || progress.elapsedMs === 0) return undefined;
  return MigrationFigures.create({
    totalMs: progress.elapsedMs,
    downtimeMs: progress.downtimeMs,
    bytes: progress.memoryProcessedBytes + progress.diskProcessedBytes,
    iterations: progress.iteration,
  });
}

export function errorOf(made: MigrationForecast | undefined, figures: MigrationFigures | undefined): ForecastError | undefined {
  if (!made || !figures) return undefined;
  return ForecastError.create({
    durationMs: figures.totalMs - made.durationMs,
    downtimeMs: figures.downtimeMs - made.downtimeMs,
    bytes: figures.bytes - made.bytes,
  });
}
