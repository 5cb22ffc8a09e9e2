/** What a migration or a policy may say of convergence, beyond the proto's rules on single fields. Pure. */
import { MigrationTimeoutAction } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { MigrationSettings } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { Fault } from "../../lib/errors.ts";
import { quantityBetween } from "./quantities.ts";

const BANDWIDTH = { min: "0", max: "1Ti", multipleOf: 1n << 20n };

export function validateSettings(path: string, settings: MigrationSettings): Fault[] {
  const { bandwidthPerMigration, allowPostCopy, allowWorkloadDisruption, parallelConnections = 0, timeoutAction } = settings;
  const field = (name: string) => `${path}.${name}`;
  return [
    ...(bandwidthPerMigration === undefined ? [] : quantityBetween(field("bandwidth_per_migration"), bandwidthPerMigration, BANDWIDTH)),
    ...(allowPostCopy && parallelConnections > 0
      ? [{ path: field("parallel_connections"), message: `must be 0 with allow_post_copy, which QEMU does over a single connection: current value is ${parallelConnections}` }]
      : []),
    ...(timeoutAction === MigrationTimeoutAction.POST_COPY && allowPostCopy === false
      ? [{ path: field("timeout_action"), message: "must not be POST_COPY where allow_post_copy is false" }]
      : []),
    ...(timeoutAction === MigrationTimeoutAction.PAUSE && allowWorkloadDisruption === false
      ? [{ path: field("timeout_action"), message: "must not be PAUSE where allow_workload_disruption is false" }]
      : []),
  ];
}
