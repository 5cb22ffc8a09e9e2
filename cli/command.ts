/** A command is a value; parsing, help and the types of its flags are derived from it. */
import { Command as Parser, CommanderError, Option } from "commander";
import type { ContextFlags } from "./context.ts";
import { UsageError } from "./failure.ts";
import type { Session } from "./session.ts";

/** How a flag is written on the command line, and what its text becomes. */
export type Flag<T> = { syntax: string; summary: string; parse(given: string | boolean | undefined): T };
type Flags = Record<string, Flag<unknown>>;
type Values<F extends Flags> = { [K in keyof F]: F[K] extends Flag<infer T> ? T : never };

export type Invocation<F extends Flags> = { args: string[]; flags: Values<F>; session: Session };

export type CommandOf<F extends Flags> = {
  /** The words that name it, such as ["node", "list"]. */
  path: readonly string[];
  summary: string;
  /** As shown in help: "<name>", "[name...]". */
  args?: readonly string[];
  flags: F;
  /** Printed behind the help. */
  more?: string;
  /** It finds its own server, or needs none. */
  local?: true;
  run(invocation: Invocation<F>): Promise<void>;
};

export type AnyCommand = CommandOf<Flags>;

export const command = <F extends Flags>(definition: CommandOf<F>): AnyCommand => definition as unknown as AnyCommand;

export const text = (syntax: string, summary: string): Flag<string | undefined> => ({
  syntax, summary, parse: (given) => (typeof given === "string" ? given : undefined),
});

export const toggle = (syntax: string, summary: string): Flag<boolean> => ({ syntax, summary, parse: (given) => given === true });

export const count = (syntax: string, summary: string, max: number): Flag<number | undefined> => ({
  syntax,
  summary,
  parse(given) {
    if (typeof given !== "string") return undefined;
    if (!/^\d{1,10}$/.test(given) || Number(given) > max) throw new UsageError(`${syntax}: must be a whole number from 0 to ${max}: it is "${given}"`);
    return Number(given);
  },
});

const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, "": 1_000 };

/** Milliseconds from "5m", "30s", "1500ms", or plain seconds. */
export const duration = (syntax: string, summary: string, defaultMs: number): Flag<number> => ({
  syntax,
  summary: `${summary} (default ${defaultMs / 1000} s)`,
  parse(given) {
    if (typeof given !== "string") return defaultMs;
    const match = /^(\d{1,7})(ms|s|m|h)?$/.exec(given);
    if (!match) throw new UsageError(`${syntax}: must be a duration such as 30s or 5m: it is "${given}"`);
    return Number(match[1]) * UNITS[match[2] ?? ""]!;
  },
});

export type GlobalFlags = ContextFlags & { output?: string };
/** `local`: the command is about this user's file, and asks no server that the file may not even name. */
export type Chosen = { globals: GlobalFlags; local: boolean; run(session: Session): Promise<void> };
export type Writers = { writeOut: (text: string) => void; writeErr: (text: string) => void };

/** What the arguments ask for; undefined when help or nothing was to be done. Throws UsageError. */
export async function parseCommand(commands: readonly AnyCommand[], argv: readonly string[], writers: Writers): Promise<Chosen | undefined> {
  let chosen: Chosen | undefined;
  const root = newParser("drover", "Runs virtual machines on a fleet of libvirt hosts", writers)
    .addOption(new Option("--server <address>", "host:port or unix:///path (default DROVER_SERVER, then the current context)"))
    .addOption(new Option("--context <name>", "context of ~/.config/drover/config.yaml (default DROVER_CONTEXT, then current-context)"))
    .addOption(new Option("--ca <file>", "authority that signed the server, PEM (default DROVER_CA, then the context's, then the system's)"))
    .addOption(new Option("--token-file <file>", "file of a bearer token (default DROVER_TOKEN, then the context's)"))
    .addOption(new Option("--insecure", "no TLS, to a loopback address only"))
    .addOption(new Option("-n, --namespace <namespace>", 'namespace (default "default")'))
    .addOption(new Option("-o, --output <format>", "table, wide, json, yaml or name"));
  for (const one of commands) {
    addCommand(root, one, writers).action((...given: unknown[]) => {
      const parser = given.at(-1) as Parser;
      chosen = choose(one, parser, root.opts<GlobalFlags>());
    });
  }
  try {
    await root.parseAsync([...argv], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    if (error.code === "commander.help") throw new UsageError("a command is required");
    throw new UsageError(error.message.replace(/^error: /, ""));
  }
  return chosen;
}

function choose(one: AnyCommand, parser: Parser, globals: GlobalFlags): Chosen {
  const options = parser.opts<Record<string, string | boolean | undefined>>();
  const flags = Object.fromEntries(Object.entries(one.flags).map(([name, flag]) => [name, flag.parse(options[optionKey(flag)])]));
  const args = parser.processedArgs.flat().filter((arg): arg is string => typeof arg === "string");
  return { globals, local: one.local === true, run: (session) => one.run({ args, flags, session }) };
}

const optionKey = ({ syntax, summary }: Flag<unknown>) => new Option(syntax, summary).attributeName();

function addCommand(root: Parser, one: AnyCommand, writers: Writers): Parser {
  const parent = one.path.slice(0, -1).reduce((at, name) => at.commands.find((child) => child.name() === name) ?? addGroup(at, name, writers), root);
  const parser = newParser(one.path.at(-1)!, one.summary, writers);
  for (const argument of one.args ?? []) parser.argument(argument);
  for (const flag of Object.values(one.flags)) parser.addOption(new Option(flag.syntax, flag.summary));
  if (one.more) parser.addHelpText("after", `\n${one.more}`);
  parent.addCommand(parser);
  return parser;
}

function addGroup(parent: Parser, name: string, writers: Writers): Parser {
  const group = newParser(name, `${name} commands`, writers);
  parent.addCommand(group);
  return group;
}

function newParser(name: string, summary: string, writers: Writers): Parser {
  return new Parser(name)
    .description(summary)
    .exitOverride()
    .allowExcessArguments(false)
    .showHelpAfterError(false)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ ...writers, outputError: () => undefined });
}
