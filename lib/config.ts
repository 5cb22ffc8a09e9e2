/**
 * One way for every program to get its configuration: `--config FILE` in YAML, checked against one schema, faults
 * refused with their path. Environment and arguments are read here and nowhere else.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { parseDocument } from "yaml";

/** Something to print and an exit code: 0 for `--help`, 2 for a fault in the configuration or the arguments, 1 for what has to be done first. */
export class ConfigExit extends Error {
  override name = "ConfigExit";
  readonly code: 0 | 1 | 2;
  constructor(code: 0 | 1 | 2, text: string) {
    super(text);
    this.code = code;
  }
}

type Schema = v.GenericSchema<unknown, Record<string, unknown>>;

/** `help` describes each key; it is printed by `--help` behind the usage line. */
export type Program = { name: string; summary: string; help: string; argv: readonly string[] };

/** The checked configuration, frozen. Throws ConfigExit. */
export function loadConfig<S extends Schema>(schema: S, program: Program): Readonly<v.InferOutput<S>> {
  const file = configFile(program);
  const result = v.safeParse(schema, readYaml(file));
  if (result.success) return deepFreeze(result.output);
  throw new ConfigExit(2, result.issues.map((issue) => describe(file, issue)).join("\n"));
}

function configFile({ name, summary, help, argv }: Program): string {
  const usage = `Usage: ${name} --config FILE\n\n${summary}\n`;
  const options = { config: { type: "string" }, help: { type: "boolean", short: "h" } } as const;
  let values: { config?: string; help?: boolean };
  try {
    values = parseArgs({ args: [...argv], options, strict: true }).values;
  } catch (error) {
    throw new ConfigExit(2, `${name}: ${(error as Error).message}\n\n${usage}`);
  }
  if (values.help) throw new ConfigExit(0, `${usage}\n${help}`);
  if (values.config === undefined) throw new ConfigExit(2, `${name}: --config FILE is required\n\n${usage}`);
  return values.config;
}

function readYaml(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigExit(2, `Cannot read the configuration: ${(error as Error).message}`);
  }
  const document = parseDocument(text, { uniqueKeys: true });
  const fault = document.errors[0];
  if (fault) throw new ConfigExit(2, `${file}: ${fault.message}`);
  return document.toJS({ maxAliasCount: 100 }) ?? {};
}

function describe(file: string, issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue) ?? "(root)";
  return `${file}: ${path}: ${issue.message}`;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}

/** Runs a program's main with its faults printed as people expect: configuration 2, anything else 1. */
export async function runProgram(main: () => Promise<void>): Promise<never> {
  try {
    await main();
    process.exit(0);
  } catch (error) {
    if (error instanceof ConfigExit) {
      (error.code === 0 ? process.stdout : process.stderr).write(`${error.message}\n`);
      process.exit(error.code);
    }
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(1);
  }
}

/** Resolves with the first of the signals that the process receives. */
export function signalled(...signals: NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of signals) process.once(signal, () => resolve(signal));
  });
}
