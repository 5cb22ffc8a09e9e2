/** The `drover` command: finds out what is asked and where the server is, runs it, and turns its end into an exit code. */
import { connect } from "../lib/client.ts";
import { systemClock } from "../lib/clock.ts";
import { systemRandom } from "../lib/random.ts";
import { parseCommand } from "./command.ts";
import type { Chosen } from "./command.ts";
import { commandsFor } from "./commands/table.ts";
import { findContext, NOWHERE } from "./context.ts";
import type { Context } from "./context.ts";
import { UsageError, describeFailure, exitCodeOf } from "./failure.ts";
import { FORMATS, Output } from "./output.ts";
import type { Format } from "./output.ts";

const INTERRUPTED = 130;

const sinks = { out: process.stdout, errors: process.stderr };
const interrupt = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupt.abort(new Error(`interrupted by ${signal}`)));
// A reader that has seen enough, such as `head`, is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

process.exitCode = await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<number> {
  let out = new Output("table", sinks);
  let context: Context | undefined;
  try {
    const writers = { writeOut: (text: string) => void process.stdout.write(text), writeErr: (text: string) => void process.stderr.write(text) };
    const chosen = await parseCommand(await commandsFor(argv), argv, writers);
    if (!chosen) return 0;
    out = new Output(formatOf(chosen.globals.output), sinks);
    context = chosen.local ? NOWHERE : await findContext(chosen.globals, process.env);
    await run(chosen, context, out);
    return interrupt.signal.aborted ? INTERRUPTED : 0;
  } catch (error) {
    if (interrupt.signal.aborted) return INTERRUPTED;
    out.fault(describeFailure(error, context === NOWHERE ? undefined : context?.server));
    return exitCodeOf(error);
  }
}

async function run(chosen: Chosen, context: Context, out: Output): Promise<void> {
  using connection = connect({ server: context.server.address, ...context.access });
  const { globals } = chosen;
  await chosen.run({ ...context, connection, globals, environment: process.env, out, clock: systemClock, random: systemRandom, signal: interrupt.signal });
}

function formatOf(given: string | undefined): Format {
  const format = FORMATS.find((one) => one === (given ?? "table"));
  if (!format) throw new UsageError(`-o must be one of ${FORMATS.join(", ")}: it is "${given}"`);
  return format;
}
