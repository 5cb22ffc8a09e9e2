/** Flags for how one migration shall converge, in place of what its policy says. */
import { MigrationTimeoutAction } from "../gen/drover/v1/virtual_machine_instance.ts";
import type { MigrationSettings } from "../gen/drover/v1/virtual_machine_instance.ts";
import { count, text, toggle } from "./command.ts";
import type { Flag } from "./command.ts";
import { UsageError } from "./failure.ts";

const DOWNTIME_MS_MAX = 2_000_000;
const CONNECTIONS_MAX = 255;
const LIMIT_SECONDS_MAX = 86_400;
const ACTIONS: Readonly<Record<string, MigrationTimeoutAction>> = {
  abort: MigrationTimeoutAction.ABORT, pause: MigrationTimeoutAction.PAUSE, "post-copy": MigrationTimeoutAction.POST_COPY,
};

export const SETTING_FLAGS = {
  bandwidth: text("--bandwidth <quantity>", 'most to send in a second, such as "64Mi"; "0" is unlimited'),
  autoConverge: toggle("--auto-converge", "slow the guest down when its memory changes too fast"),
  postCopy: toggle("--post-copy", "allow that the guest runs at the target before all its memory is there"),
  maxDowntime: count("--max-downtime <ms>", "how long the guest may stand still at the switch-over", DOWNTIME_MS_MAX),
  connections: count("--connections <count>", "connections that carry memory side by side", CONNECTIONS_MAX),
  limit: count("--limit <seconds>", "for each GiB, until the action on timeout is taken", LIMIT_SECONDS_MAX),
  onTimeout: text("--on-timeout <action>", `what to do then: ${Object.keys(ACTIONS).join(", ")}`),
};

type Given = { [K in keyof typeof SETTING_FLAGS]: (typeof SETTING_FLAGS)[K] extends Flag<infer T> ? T : never };

/** What is not given is left to the policy. */
export function settingsOf({ bandwidth, autoConverge, postCopy, maxDowntime, connections, limit, onTimeout }: Given): MigrationSettings | undefined {
  const timeoutAction = onTimeout === undefined ? undefined : ACTIONS[onTimeout];
  if (onTimeout !== undefined && timeoutAction === undefined) throw new UsageError(`--on-timeout must be one of ${Object.keys(ACTIONS).join(", ")}`);
  const settings: MigrationSettings = {
    ...(bandwidth !== undefined && { bandwidthPerMigration: bandwidth }),
    ...(autoConverge && { allowAutoConverge: true }),
    ...(postCopy && { allowPostCopy: true }),
    ...(maxDowntime !== undefined && { maxDowntimeMs: maxDowntime }),
    ...(connections !== undefined && { parallelConnections: connections }),
    ...(limit !== undefined && { completionTimeoutPerGib: limit }),
    ...(timeoutAction !== undefined && { timeoutAction }),
  };
  return Object.keys(settings).length === 0 ? undefined : settings;
}
