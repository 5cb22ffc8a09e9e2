/** Columns as kubectl prints them: no borders, widths from the rows, nothing from outside reaches the terminal raw. */
import { visible } from "./visible.ts";

const GAP = 3;
const CELL_LENGTH_MAX = 200;

export function cellText(text: string): string {
  const safe = visible(text.replaceAll(/\s+/g, " ").trim());
  return safe.length > CELL_LENGTH_MAX ? `${safe.slice(0, CELL_LENGTH_MAX - 1)}…` : safe;
}

/** Keeps its widths, so that rows that come later stand under the first ones. */
export class Table {
  readonly #titles: readonly string[];
  #widths: number[];

  constructor(titles: readonly string[]) {
    this.#titles = titles;
    this.#widths = titles.map((title) => title.length);
  }

  header(): string {
    return this.#line(this.#titles);
  }

  /** Widens the columns for these rows and gives their lines. */
  rows(rows: readonly (readonly string[])[]): string[] {
    const texts = rows.map((row) => row.map(cellText));
    this.#widths = this.#widths.map((width, column) => Math.max(width, ...texts.map((row) => row[column]?.length ?? 0)));
    return texts.map((row) => this.#line(row));
  }

  #line(cells: readonly string[]): string {
    return cells.map((cell, column) => (column === cells.length - 1 ? cell : cell.padEnd(this.#widths[column]! + GAP))).join("").trimEnd();
  }
}

/** All rows at once, header first. */
export function tableLines(titles: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const table = new Table(titles);
  const lines = table.rows(rows);
  return [table.header(), ...lines];
}
