/** The controller's configuration: what the file may hold, with bounds and defaults. */
import * as v from "valibot";
import { loadConfig } from "../lib/config.ts";
import { LOG_LEVELS } from "../lib/log.ts";

const count = (max: number) => v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(max));

const path = v.pipe(v.string(), v.startsWith("/", "must be an absolute path"));

const settings = v.strictObject({
  server: v.pipe(v.string(), v.regex(/^(unix:\/\/\/.+|(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5})$/, 'must be "unix:///path" or "host:port"')),
  tls: v.optional(v.strictObject({ ca: path, cert: path, key: path })),
  migrations: v.optional(
    v.strictObject({
      fleet: v.optional(count(1_000), 5),
      outboundPerNode: v.optional(count(100), 2),
      inboundPerNode: v.optional(count(100), 2),
      linkMibPerSecond: v.optional(count(1_048_576)),
      unlimitedShareMibPerSecond: v.optional(count(1_048_576)),
    }),
    {},
  ),
  logLevel: v.optional(v.picklist(LOG_LEVELS), "info"),
});

/** Over a socket there is nothing to encrypt, and everything else is never in the clear. */
const schema = v.pipe(
  settings,
  v.forward(v.check(({ server, tls }) => server.startsWith("unix:") === (tls === undefined), 'is required with "host:port", and not allowed with a socket'), ["tls"]),
);

export type Config = Readonly<v.InferOutput<typeof schema>>;

const HELP = `Keys of the file:
  server               API server's socket, such as unix:///run/drover/api.sock, or its public listener as host:port. Required.
  tls:                 Required with host:port. The API server keeps these files in its pki directory; new ones are taken up.
    ca                 Its authority, ca.pem.
    cert               controller.pem.
    key                controller.key.
  migrations:
    fleet              Live migrations at once in the whole fleet. Default 5.
    outboundPerNode    Of these away from one node. Default 2.
    inboundPerNode     Of these to one node. Default 2.
    linkMibPerSecond   What the migrations out of one node, and those into one, may be allowed together by their own
                       limits on bandwidth. One whose limit is beyond it goes alone. Default no such budget.
    unlimitedShareMibPerSecond
                       What one without a limit counts as in that. Default half of it.
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
