/**
 * The audit outside the store: files of JSON lines, one for each day, to be carried away. A line that was written twice by
 * a crash is harmless, as it has its number in it.
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type AuditRow, entryOf } from "../store/audit.ts";

/** How far the export is, beside the days, which may be carried away. */
const PLACE = "exported";

export class ExportDirectory {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** The last entry that is on the disk here. */
  reached(): number {
    const path = join(this.#directory, PLACE);
    if (!existsSync(path)) return 0;
    const seq = Number(readFileSync(path, "utf8"));
    if (!Number.isSafeInteger(seq)) throw new Error(`${path} must hold the number of the last entry that was exported`);
    return seq;
  }

  /** Durable when it returns. */
  write(rows: readonly AuditRow[]): void {
    for (const [day, lines] of Map.groupBy(rows, ({ line }) => dayOf(line))) {
      this.#put(`audit-${day}.jsonl`, "a", lines.map(({ line }) => `${line}\n`).join(""));
    }
    const last = rows.at(-1);
    if (last === undefined) return;
    this.#put(`${PLACE}.new`, "w", `${last.seq}\n`);
    renameSync(join(this.#directory, `${PLACE}.new`), join(this.#directory, PLACE));
    syncDirectory(this.#directory);
  }

  #put(name: string, flags: "a" | "w", text: string): void {
    const file = openSync(join(this.#directory, name), flags, 0o600);
    try {
      writeFileSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  }
}

function syncDirectory(path: string): void {
  const handle = openSync(path, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** A line that cannot be read is kept, too. */
function dayOf(line: string): string {
  try {
    return new Date(entryOf(line).atMs).toISOString().slice(0, 10);
  } catch {
    return "unreadable";
  }
}
