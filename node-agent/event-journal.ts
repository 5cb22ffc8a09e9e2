/** The outbox's events on disk: one line for each, protobuf in base64, so that a line cut off by a kill is recognised. */
import { ReportRequest } from "../gen/drover/agent/v1/agent.ts";
import { appendKept, readKept, writeKept } from "./kept-file.ts";

/** An event that waits. */
export type Kept = { request: ReportRequest };

export interface EventJournal {
  read(): Kept[];
  append(kept: Kept): void;
  /** Only these still wait. */
  acknowledge(waiting: readonly Kept[]): void;
}

/** Acknowledged lines are dropped once they are this many: a crash repeats some. */
const REWRITE_AFTER = 50;

export function fileJournal(path: string): EventJournal {
  let acknowledged = 0;
  return {
    read: () => (readKept(path) ?? "").split("\n").flatMap(parse),
    append: (kept) => appendKept(path, line(kept)),
    acknowledge(waiting) {
      acknowledged += 1;
      if (waiting.length > 0 && acknowledged < REWRITE_AFTER) return;
      acknowledged = 0;
      writeKept(path, waiting.map(line).join(""));
    },
  };
}

const line = ({ request }: Kept): string => `${Buffer.from(ReportRequest.encode(request).finish()).toString("base64")};\n`;

function parse(text: string): Kept[] {
  if (!text.endsWith(";")) return [];
  return [{ request: ReportRequest.decode(Buffer.from(text.slice(0, -1), "base64")) }];
}
