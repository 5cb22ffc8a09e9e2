/** Keeps the last measured figures in docs/performance.md, each part between marks of its own. */
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { systemClock } from "../lib/clock.ts";
import { asMarkdown } from "./figure.ts";
import type { Report } from "./figure.ts";

const DOCUMENT = join(import.meta.dirname, "../docs/performance.md");
const GIB = 1024 ** 3;

export function keepResults(part: string, reports: readonly Report[]): void {
  const text = readFileSync(DOCUMENT, "utf8");
  const [begin, end] = [`<!-- ${part} -->`, `<!-- /${part} -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${DOCUMENT} has no place for "${part}": ${begin} and ${end}`);
  const body = [describeMachine(), ...reports.map(asMarkdown)].join("\n\n");
  writeFileSync(DOCUMENT, `${text.slice(0, from)}${begin}\n${body}\n${text.slice(to)}`);
}

function describeMachine(): string {
  const day = systemClock.now().toISOString().slice(0, 10);
  const model = cpus()[0]?.model.trim() ?? "unknown processor";
  return `Measured ${day} on ${availableParallelism()} cores (${model}), ${(totalmem() / GIB).toFixed(0)} GiB, Linux ${release()}, Node ${process.versions.node}; guests by emulation (TCG).`;
}
