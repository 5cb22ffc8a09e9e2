/** The controller's configuration: what the file may hold, with bounds and defaults. */
import * as v from "valibot";
import { MigrationTimeoutAction } from "../gen/drover/v1/virtual_machine_instance.ts";
import { loadConfig } from "../lib/config.ts";
import { LOG_LEVELS } from "../lib/log.ts";
import { MIGRATION_DEFAULTS } from "../lib/migration-policy.ts";
import type { MigrationDefaults } from "../lib/migration-policy.ts";
import { SLOTS } from "../lib/preflight/slots.ts";
import { parseQuantity } from "../lib/quantity.ts";
import { MIGRATION_BUDGETS } from "./migration/budgets.ts";

const count = (max: number) => v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(max));

const path = v.pipe(v.string(), v.startsWith("/", "must be an absolute path"));

const seconds = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(86_400));
const bandwidth = v.pipe(v.string(), v.check((text) => wholeMebibytes(text), 'must be a whole number of MiB up to 1Ti, such as "64Mi"'));

/** As in MigrationSettings of the API. */
const defaults = v.pipe(v.strictObject({
  bandwidthPerMigration: v.optional(bandwidth, MIGRATION_DEFAULTS.bandwidthPerMigration),
  completionTimeoutPerGiB: v.optional(seconds, MIGRATION_DEFAULTS.completionTimeoutPerGib),
  progressTimeoutSeconds: v.optional(seconds, MIGRATION_DEFAULTS.progressTimeoutSeconds),
  allowAutoConverge: v.optional(v.boolean(), MIGRATION_DEFAULTS.allowAutoConverge),
  allowPostCopy: v.optional(v.boolean(), MIGRATION_DEFAULTS.allowPostCopy),
  allowWorkloadDisruption: v.optional(v.boolean()),
  maxDowntimeMs: v.optional(count(2_000_000), MIGRATION_DEFAULTS.maxDowntimeMs),
  downtimeSteps: v.optional(count(100), MIGRATION_DEFAULTS.downtimeSteps),
  parallelConnections: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(255)), MIGRATION_DEFAULTS.parallelConnections),
  timeoutAction: v.optional(v.picklist(["Abort", "Pause", "PostCopy"])),
}), v.transform(({ completionTimeoutPerGiB, timeoutAction, allowWorkloadDisruption, ...rest }): MigrationDefaults => ({
  ...rest,
  completionTimeoutPerGib: completionTimeoutPerGiB,
  ...(allowWorkloadDisruption !== undefined && { allowWorkloadDisruption }),
  ...(timeoutAction && { timeoutAction: ACTIONS[timeoutAction] }),
})));

const ACTIONS = { Abort: MigrationTimeoutAction.ABORT, Pause: MigrationTimeoutAction.PAUSE, PostCopy: MigrationTimeoutAction.POST_COPY } as const;

function wholeMebibytes(text: string): boolean {
  const bytes = parseQuantity(text);
  return bytes !== undefined && bytes <= 1n << 40n && bytes % (1n << 20n) === 0n;
}

/** As long as an hour, and no shorter than a word takes on a busy network. */
const budget = (defaultMs: number) => v.optional(v.pipe(v.number(), v.integer(), v.minValue(100), v.maxValue(3_600_000)), defaultMs);

const budgets = v.strictObject({
  schedulingMs: budget(MIGRATION_BUDGETS.schedulingMs),
  preparingTargetMs: budget(MIGRATION_BUDGETS.preparingTargetMs),
  targetReadyMs: budget(MIGRATION_BUDGETS.targetReadyMs),
  tidyMs: budget(MIGRATION_BUDGETS.tidyMs),
  orphanAfterMs: budget(MIGRATION_BUDGETS.orphanAfterMs),
});

const settings = v.strictObject({
  server: v.pipe(v.string(), v.regex(/^(unix:\/\/\/.+|(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5})$/, 'must be "unix:///path" or "host:port"')),
  tls: v.optional(v.strictObject({ ca: path, cert: path, key: path })),
  migrations: v.optional(
    v.strictObject({
      fleet: v.optional(count(1_000), SLOTS.fleet),
      outboundPerNode: v.optional(count(100), SLOTS.outboundPerNode),
      inboundPerNode: v.optional(count(100), SLOTS.inboundPerNode),
      linkMibPerSecond: v.optional(count(1_048_576)),
      unlimitedShareMibPerSecond: v.optional(count(1_048_576)),
      defaults: v.optional(defaults, {}),
      budgets: v.optional(budgets, {}),
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
    defaults:          How a migration converges where neither it nor a MigrationPolicy says it; as in the API.
      bandwidthPerMigration      Such as "64Mi" a second; "0" is unlimited. Default "0".
      completionTimeoutPerGiB    Seconds for each GiB; 0 sets no limit. Default 150.
      progressTimeoutSeconds     Without progress; 0 waits for the limit. Default 40.
      allowAutoConverge, allowPostCopy, allowWorkloadDisruption
                                 Default false; the last one as allowPostCopy.
      maxDowntimeMs, downtimeSteps
                                 Default 900, in 4 steps.
      parallelConnections        Default 0, QEMU's single stream.
      timeoutAction              Abort, Pause or PostCopy. Default: the gentlest that is allowed.
    budgets:           How long each wait may take, in milliseconds from 100 to an hour. What has begun to move has no limit here.
      schedulingMs               For a node that takes the machine. Default ${MIGRATION_BUDGETS.schedulingMs}.
      preparingTargetMs          For the target to get ready. Default ${MIGRATION_BUDGETS.preparingTargetMs}.
      targetReadyMs              For the source to begin. Default ${MIGRATION_BUDGETS.targetReadyMs}.
      tidyMs                     For the source to say, after the hand-off, that nothing is left with it. Default ${MIGRATION_BUDGETS.tidyMs}.
      orphanAfterMs              Until a migration whose record was deleted is ended. Default ${MIGRATION_BUDGETS.orphanAfterMs}.
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
