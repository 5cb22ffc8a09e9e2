/** The API server's configuration: one schema, every fault refused with its path. */
import { isIP } from "node:net";
import { dirname, join } from "node:path";
import * as v from "valibot";
import { loadConfig } from "../lib/config.ts";
import { LOG_LEVELS } from "../lib/log.ts";
import { isTrustDomain } from "../lib/pki/identity.ts";
import { AUTH_HELP, authSchema } from "./auth/config.ts";
import { LIMITS_HELP, limitsSchema } from "./limits/config.ts";
import { WATCH_BACKLOG_BYTES_MAX } from "./records/watch.ts";

const KIB = 1024;
const GIB = KIB ** 3;

const HELP = `Flags:
  --insecure-loopback ADDRESS               as listen.insecureLoopback

Configuration (YAML):
  store: sqlite:/var/lib/drover-server/drover.db  where the records are kept; "memory:" keeps nothing
  createStore: true|false                   make a store where there is none; default: where there never was one
  pki:                                      the certificate authority; required with public, agents and enrolment
    directory: /var/lib/drover-server/pki   ca.pem and ca.key, made at the first start or brought along
    trustDomain: drover                     in every identity; never changed later
    names: [api.example.org, 10.0.0.254]    where clients find this server; "localhost" is always among them
  listen:
    unix: /run/drover/api.sock              local administrators; mode 0600
    public: 0.0.0.0:7443                    users and the controller; TLS, with a client certificate or a bearer token
    agents: 0.0.0.0:7444                    node agents; TLS, a client certificate is required
    enrolment: 0.0.0.0:7445                 hosts that join with a token; TLS
    insecureLoopback: 127.0.0.1:7446        for development: everybody on this machine is an administrator, in the clear
${AUTH_HELP}${LIMITS_HELP}  leaseMs: 15000                            how long a node may be silent before it is called so
  watchBacklogBytesMax: 67108864            how far a watch may fall behind before it is ended, in bytes of changes
  secrets: {keyFile: FILE}                  keys that close secrets in the store; default: secrets.key beside the authority or the store
  audit: {exportDirectory: DIRECTORY}       daily files of the audit; without it no entry is ever forgotten
  logLevel: info                            ${LOG_LEVELS.join(", ")}
  faults: {commitDelayMs: 0}                for tests only: holds up each commit as a slow disk would; SQLite alone
`;

const INSECURE_FLAG = "--insecure-loopback";
const SECURED = ["public", "agents", "enrolment"] as const;

const path = v.pipe(v.string(), v.startsWith("/", "must be an absolute path"));

const address = v.pipe(
  v.string(),
  v.check((text) => splitAddress(text) !== undefined, 'must be "host:port", such as "127.0.0.1:7443"'),
);

const loopback = v.pipe(
  address,
  v.check((text) => isLoopback(splitAddress(text)?.host ?? ""), "must be a loopback address: nothing else is served in the clear"),
);

const hostName = v.pipe(
  v.string(),
  v.check((text) => isIP(text) !== 0 || /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$/.test(text), "must be a DNS name or an IP address"),
);

const listen = v.strictObject({
  unix: v.optional(path),
  public: v.optional(address),
  agents: v.optional(address),
  enrolment: v.optional(address),
  insecureLoopback: v.optional(loopback),
});

const pki = v.strictObject({
  directory: path,
  trustDomain: v.optional(v.pipe(v.string(), v.check(isTrustDomain, "must be a name such as drover or drover.example.org")), "drover"),
  names: v.optional(v.pipe(v.array(hostName), v.maxLength(64)), []),
});

export const schema = v.pipe(
  v.strictObject({
    store: v.pipe(v.string(), v.regex(/^(sqlite:\/.+|memory:)$/, 'must be "sqlite:" with an absolute path, or "memory:"')),
    createStore: v.optional(v.boolean()),
    pki: v.optional(pki),
    listen,
    auth: v.optional(authSchema, {}),
    limits: v.optional(limitsSchema, {}),
    leaseMs: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1_000), v.maxValue(600_000)), 15_000),
    watchBacklogBytesMax: v.optional(v.pipe(v.number(), v.integer(), v.minValue(64 * KIB), v.maxValue(16 * GIB)), WATCH_BACKLOG_BYTES_MAX),
    secrets: v.optional(v.strictObject({ keyFile: v.optional(path) }), {}),
    audit: v.optional(v.strictObject({ exportDirectory: v.optional(path) }), {}),
    logLevel: v.optional(v.picklist(LOG_LEVELS), "info"),
    faults: v.optional(v.strictObject({ commitDelayMs: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(10_000)) })),
  }),
  v.forward(
    v.check(({ listen: each }) => Object.keys(each).length > 0, "must have at least one of unix, public, agents, enrolment and insecureLoopback"),
    ["listen"],
  ),
  v.forward(
    v.check(({ listen: each, pki: authority }) => authority !== undefined || SECURED.every((name) => each[name] === undefined), "is required with listen.public, listen.agents and listen.enrolment"),
    ["pki"],
  ),
);

export type Config = Readonly<v.InferOutput<typeof schema>>;

export function readConfig(argv: readonly string[]): Config {
  const { rest, insecureLoopback } = takeFlag(argv);
  const program = { name: "drover-api-server", summary: "Keeps the records and answers for them.", help: HELP, argv: rest };
  return loadConfig(insecureLoopback === undefined ? schema : v.pipe(v.unknown(), v.transform(listeningAt(insecureLoopback)), schema), program);
}

/** Where the keys of secrets are; undefined for a store that writes nothing to a disk. */
export function secretKeyFile({ store, pki: authority, secrets }: Pick<Config, "store" | "pki" | "secrets">): string | undefined {
  if (secrets.keyFile !== undefined) return secrets.keyFile;
  const [, file] = /^sqlite:(.+)$/.exec(store) ?? [];
  return file && join(authority?.directory ?? dirname(file), "secrets.key");
}

/** The one flag besides those of every program. */
function takeFlag(argv: readonly string[]): { rest: string[]; insecureLoopback?: string } {
  const at = argv.findIndex((word) => word === INSECURE_FLAG || word.startsWith(`${INSECURE_FLAG}=`));
  if (at === -1) return { rest: [...argv] };
  const inline = argv[at]!.slice(INSECURE_FLAG.length + 1);
  const [insecureLoopback, width] = argv[at] === INSECURE_FLAG ? [argv[at + 1] ?? "", 2] : [inline, 1];
  return { rest: argv.toSpliced(at, width), insecureLoopback };
}

const listeningAt = (insecureLoopback: string) => (file: unknown) => {
  const { listen: given, ...others } = (file ?? {}) as { listen?: object };
  return { ...others, listen: { ...given, insecureLoopback } };
};

/** Brackets around IPv6 addresses, as in "[::1]:7443". */
export function splitAddress(text: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  return host === undefined || port > 65_535 ? undefined : { host, port };
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
