/** What `explain` says of a machine's open migration: where it goes, how it is to converge and why, and what holds it. Pure. */
import type { DomainDescription } from "../../gen/drover/agent/v1/agent.ts";
import { MigrationMode, MigrationTimeoutAction } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { InstanceMigration, MigrationOptions } from "../../gen/drover/v1/virtual_machine_instance.ts";

export function migrationDetails({ name, sourceNode, targetNode, options, source }: InstanceMigration): string[] {
  const standstill = source?.standstill;
  return [
    `migration ${name} from ${sourceNode} to ${targetNode} is open${MODES[source?.mode ?? MigrationMode.UNSPECIFIED] ?? ""}`,
    ...(options ? [`it converges by ${options.why}`, `it may take ${limitsOf(options)}`] : []),
    ...(source?.gaveUp ? [`its source has given up: ${source.gaveUp}`] : []),
    ...(standstill?.postCopyBroken ? [`post-copy broke, attempt ${standstill.attempts} to go on: ${standstill.message}`] : []),
    ...(standstill && !standstill.postCopyBroken ? [`the guest stands still at ${sourceNode} until ${targetNode} has said that nothing of it is there`] : []),
  ];
}

const MODES: Partial<Record<MigrationMode, string>> = {
  [MigrationMode.POST_COPY]: ", in post-copy: the guest runs at the target",
  [MigrationMode.PAUSED]: ", with the guest paused so that the rest can move",
};

const ACTIONS: Partial<Record<MigrationTimeoutAction, string>> = {
  [MigrationTimeoutAction.PAUSE]: "pause the guest",
  [MigrationTimeoutAction.POST_COPY]: "post-copy",
};

function limitsOf(options: MigrationOptions): string {
  const { bandwidthMibPerSecond, completionTimeoutSeconds, progressTimeoutSeconds, maxDowntimeMs, autoConverge, parallelConnections } = options;
  const limits = [
    completionTimeoutSeconds > 0 ? `${completionTimeoutSeconds} s` : "any time",
    ...(progressTimeoutSeconds > 0 ? [`${progressTimeoutSeconds} s without progress`] : []),
    bandwidthMibPerSecond > 0 ? `${bandwidthMibPerSecond} MiB/s` : "any bandwidth",
    `${maxDowntimeMs} ms of downtime`,
    ...(autoConverge ? ["the guest slowed down"] : []),
    ...(parallelConnections > 0 ? [`${parallelConnections} connections`] : []),
  ];
  return `${limits.join(", ")}; then: ${ACTIONS[options.timeoutAction] ?? "abort"}`;
}

/** libvirt stops a guest that moves, in the end or in post-copy: nothing holds it up. */
export const standsStillToMove = ({ state, reason }: DomainDescription): boolean =>
  state === "paused" && (reason === "migration" || reason.startsWith("postcopy"));
