/** The API server's configuration: one schema, every fault refused with its path. */
import { isIP } from "node:net";
import * as v from "valibot";
import { loadConfig } from "../lib/config.ts";
import { LOG_LEVELS } from "../lib/log.ts";
import { WATCH_BACKLOG_BYTES_MAX } from "./records/watch.ts";

const KIB = 1024;
const GIB = KIB ** 3;

const HELP = `Configuration (YAML):
  store: sqlite:/var/lib/drover/drover.db   where the records are kept; "memory:" keeps nothing
  createStore: true|false                   make a store where there is none; default: where there never was one
  listen:
    unix: /run/drover/api.sock              local administrators and the controller; mode 0600
    tcp: 127.0.0.1:7443                     users; loopback only
    agents: 0.0.0.0:7444                    node agents; a client certificate is required
  agentsTls: {ca: FILE, cert: FILE, key: FILE}
  leaseMs: 15000                            how long a node may be silent before it is called so
  watchBacklogBytesMax: 67108864            how far a watch may fall behind before it is ended, in bytes of changes
  logLevel: info                            ${LOG_LEVELS.join(", ")}
  faults: {commitDelayMs: 0}                for tests only: holds up each commit as a slow disk would; SQLite alone
`;

const path = v.pipe(v.string(), v.startsWith("/", "must be an absolute path"));

const address = v.pipe(
  v.string(),
  v.check((text) => splitAddress(text) !== undefined, 'must be "host:port", such as "127.0.0.1:7443"'),
);

const loopback = v.pipe(
  address,
  v.check((text) => isLoopback(splitAddress(text)?.host ?? ""), "must be a loopback address: users have no identities yet"),
);

export const schema = v.pipe(
  v.strictObject({
    store: v.pipe(v.string(), v.regex(/^(sqlite:\/.+|memory:)$/, 'must be "sqlite:" with an absolute path, or "memory:"')),
    createStore: v.optional(v.boolean()),
    listen: v.strictObject({ unix: v.optional(path), tcp: v.optional(loopback), agents: v.optional(address) }),
    agentsTls: v.optional(v.strictObject({ ca: path, cert: path, key: path })),
    leaseMs: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1_000), v.maxValue(600_000)), 15_000),
    watchBacklogBytesMax: v.optional(v.pipe(v.number(), v.integer(), v.minValue(64 * KIB), v.maxValue(16 * GIB)), WATCH_BACKLOG_BYTES_MAX),
    logLevel: v.optional(v.picklist(LOG_LEVELS), "info"),
    faults: v.optional(v.strictObject({ commitDelayMs: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(10_000)) })),
  }),
  v.forward(
    v.check(({ listen }) => Object.keys(listen).length > 0, "must have at least one of unix, tcp and agents"),
    ["listen"],
  ),
  v.forward(
    v.check(({ listen, agentsTls }) => listen.agents === undefined || agentsTls !== undefined, "is required with listen.agents"),
    ["agentsTls"],
  ),
);

export type Config = Readonly<v.InferOutput<typeof schema>>;

export function readConfig(argv: readonly string[]): Config {
  return loadConfig(schema, { name: "drover-api-server", summary: "Keeps the records and answers for them.", help: HELP, argv });
}

/** Brackets around IPv6 addresses, as in "[::1]:7443". */
function splitAddress(text: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  return host === undefined || port > 65_535 ? undefined : { host, port };
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
