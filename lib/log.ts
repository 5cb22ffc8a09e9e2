/** Structured lines to standard error: one JSON object each, secrets masked by key, nothing personal. */
import { pino } from "pino";
import type { Logger } from "pino";

export type { Logger };

/** Controls and direction marks that JSON itself leaves as they are: a line may be read on a terminal. */
const UNSAFE = /[\u007F-\u009F\u200E\u200F\u2028-\u202E\u2066-\u2069]/g;
const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** `program` names the writer in every line. Synchronous, so that the last words of a dying process are not lost. */
export function createLog(program: string, level: LogLevel): Logger {
  return pino(
    {
      level,
      base: { program, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: ["*.userData", "*.networkData", "*.token", "*.password", "*.key"], censor: "***" },
      hooks: { streamWrite: (line) => line.replaceAll(UNSAFE, escaped) },
      serializers: { error: pino.stdSerializers.err },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}

/** For parts that are run without anybody to read. */
export const silentLog: Logger = pino({ enabled: false });
