/** The controller's configuration: what the file may hold, with bounds and defaults. */
import * as v from "valibot";
import { loadConfig } from "../lib/config.ts";
import { LOG_LEVELS } from "../lib/log.ts";

const count = (max: number) => v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(max));

const schema = v.strictObject({
  server: v.pipe(v.string(), v.startsWith("unix://")),
  cpuAllocationRatio: v.optional(v.pipe(v.number(), v.minValue(1), v.maxValue(100)), 10),
  migrations: v.optional(
    v.strictObject({
      fleet: v.optional(count(1_000), 5),
      outboundPerNode: v.optional(count(100), 2),
      inboundPerNode: v.optional(count(100), 2),
    }),
    {},
  ),
  logLevel: v.optional(v.picklist(LOG_LEVELS), "info"),
});

export type Config = Readonly<v.InferOutput<typeof schema>>;

const HELP = `Keys of the file:
  server               API server's own socket, such as unix:///run/drover/api.sock. Required.
  cpuAllocationRatio   Virtual processors for each processor of a node, 1 to 100. Default 10.
  migrations:
    fleet              Live migrations at once in the whole fleet. Default 5.
    outboundPerNode    Of these away from one node. Default 2.
    inboundPerNode     Of these to one node. Default 2.
  logLevel             ${LOG_LEVELS.join(", ")}. Default info.
`;

export function readConfig(argv: readonly string[]): Config {
  return loadConfig(schema, {
    name: "drover-controller",
    summary: "Decides where machines run, when they start and stop, and how they move.",
    help: HELP,
    argv,
  });
}
