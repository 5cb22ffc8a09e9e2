/** One measured figure, what it is held against, and how it is printed. Pure. */
import { medianRatio, overhead, quantile } from "./statistics.ts";
import type { Estimate, Pair } from "./statistics.ts";

export type Unit = "ms" | "×" | "/s" | "MiB" | "KiB" | "";

export type Figure = {
  name: string;
  value: number;
  unit: Unit;
  /** 95 % interval. */
  low?: number;
  high?: number;
  /** What it may be at most; it holds only if the upper end of the interval does. */
  atMost?: number;
  /** The absolute values behind a ratio, or anything else to know of it. */
  note?: string;
};

/** A part of the benchmark with its figures, in the order in which they are printed. */
export type Report = { title: string; figures: Figure[] };

export function holds({ value, high = value, atMost }: Figure): boolean | undefined {
  return atMost === undefined ? undefined : high <= atMost;
}

export const figure = (name: string, value: number, unit: Unit, rest: Partial<Figure> = {}): Figure => ({ name, value, unit, ...rest });

const estimated = (name: string, unit: Unit, { value, low, high }: Estimate): Figure => ({ name, value, unit, low, high });

/** Median paired ratio, with both medians in the note. */
export function ratioOf(name: string, pairs: readonly Pair[], { atMost, baseline }: { atMost?: number; baseline: string }): Figure {
  return { ...estimated(name, "×", medianRatio(pairs)), ...(atMost === undefined ? {} : { atMost }), note: mediansOf(pairs, baseline) };
}

/** How much longer ours took than theirs, pair by pair. */
export function overheadOf(name: string, pairs: readonly Pair[], { part, atMost, baseline }: { part: number; atMost?: number; baseline: string }): Figure {
  return { ...estimated(name, "ms", overhead(pairs, part)), ...(atMost === undefined ? {} : { atMost }), note: mediansOf(pairs, baseline) };
}

function mediansOf(pairs: readonly Pair[], baseline: string): string {
  const ours = quantile(pairs.map((pair) => pair.ours), 0.5);
  const theirs = quantile(pairs.map((pair) => pair.theirs), 0.5);
  return `Drover ${amount(ours)} ms, ${baseline} ${amount(theirs)} ms, ${pairs.length} pairs`;
}

export const amount = (value: number): string => (Math.abs(value) < 10 ? value.toFixed(2) : Math.abs(value) < 100 ? value.toFixed(1) : value.toFixed(0));

function withUnit(value: number, unit: Unit): string {
  return unit === "×" ? `${value.toFixed(3)}×` : `${amount(value)}${unit === "" ? "" : ` ${unit}`}`;
}

const COLUMNS = ["What", "Figure", "95 % interval", "Bound", "Holds", "Note"] as const;

function cells(figure: Figure): string[] {
  const { name, value, unit, low, high, atMost, note = "" } = figure;
  const held = holds(figure);
  return [
    name,
    withUnit(value, unit),
    low === undefined || high === undefined ? "" : `${withUnit(low, unit)} to ${withUnit(high, unit)}`,
    atMost === undefined ? "" : `≤ ${withUnit(atMost, unit)}`,
    held === undefined ? "" : held ? "yes" : "NO",
    note,
  ];
}

export function asText({ title, figures }: Report): string {
  const rows = [[...COLUMNS], ...figures.map(cells)];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd());
  return `\n${title}\n${lines.map((line) => `  ${line}`).join("\n")}`;
}

export function asMarkdown({ title, figures }: Report): string {
  const line = (row: readonly string[]) => `| ${row.join(" | ")} |`;
  return [`### ${title}`, "", line(COLUMNS), line(COLUMNS.map(() => "---")), ...figures.map((one) => line(cells(one)))].join("\n");
}
