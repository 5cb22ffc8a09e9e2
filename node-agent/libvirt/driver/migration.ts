/** Live migration from this host, and the job that it is. */
import { errorCode, migrateFlag, migrateParameter } from "../constants.ts";
import { HypervisorError } from "../hypervisor.ts";
import type { JobStats, MigrateOptions } from "../hypervisor.ts";
import { jobStats } from "../job-stats.ts";
import { removeCopyLeftovers } from "./copy-leftovers.ts";
import { withDomain } from "./domains.ts";
import type { Lane } from "./lane.ts";
import type { Pointer } from "./library.ts";
import { readTypedParams, TypedParams } from "./typed-params.ts";
import type { Parameter } from "./typed-params.ts";

/**
 * Peer to peer, so that the daemons finish it without us. The definition moves with the guest: left behind, it could be
 * started by anybody while the guest runs elsewhere. A guest stopped by an I/O error stays here rather than moving so.
 */
const ALWAYS =
  migrateFlag.LIVE | migrateFlag.PEER2PEER | migrateFlag.PERSIST_DEST | migrateFlag.UNDEFINE_SOURCE | migrateFlag.ABORT_ON_ERROR;

/** Figures are refused for a domain that does not run, and on the target of a migration, where it is active. */
const REFUSED: ReadonlySet<number> = new Set([errorCode.OPERATION_INVALID, errorCode.OPERATION_UNSUPPORTED]);

const COPY_FLAG = { incremental: migrateFlag.NON_SHARED_INC, full: migrateFlag.NON_SHARED_DISK } as const satisfies Record<NonNullable<MigrateOptions["copyStorage"]>, number>;

export function migrationFlags(options: MigrateOptions): number {
  return (
    ALWAYS |
    (options.tls ? migrateFlag.TLS : 0) |
    (options.disksKnownShared ? migrateFlag.UNSAFE : 0) |
    (options.autoConverge ? migrateFlag.AUTO_CONVERGE : 0) |
    (options.parallelConnections === undefined ? 0 : migrateFlag.PARALLEL) |
    (options.postCopy ? migrateFlag.POSTCOPY : 0) |
    (options.resumePostCopy ? migrateFlag.POSTCOPY | migrateFlag.POSTCOPY_RESUME : 0) |
    (options.copyStorage === undefined ? 0 : COPY_FLAG[options.copyStorage])
  );
}

export function migrationParameters(options: MigrateOptions): Parameter[] {
  const parameters: (Omit<Parameter, "value"> & { value: Parameter["value"] | undefined })[] = [
    { name: migrateParameter.DEST_XML, type: "STRING", value: options.destinationXml },
    { name: migrateParameter.PERSIST_XML, type: "STRING", value: options.persistentXml },
    { name: migrateParameter.URI, type: "STRING", value: options.migrationUri },
    { name: migrateParameter.BANDWIDTH, type: "ULLONG", value: options.bandwidthMiBps },
    { name: migrateParameter.PARALLEL_CONNECTIONS, type: "INT", value: options.parallelConnections },
    { name: migrateParameter.TLS_DESTINATION, type: "STRING", value: options.tlsDestination },
    { name: migrateParameter.BANDWIDTH_POSTCOPY, type: "ULLONG", value: options.postCopyBandwidthMiBps },
    // A list is its name again and again.
    ...(options.copyDisks ?? []).map((value) => ({ name: migrateParameter.MIGRATE_DISKS, type: "STRING" as const, value })),
  ];
  return parameters.flatMap(({ value, ...rest }) => (value === undefined ? [] : [{ ...rest, value }]));
}

export function migrate(lane: Lane, uuid: string, options: MigrateOptions): Promise<void> {
  return withDomain(lane, uuid, async (handle) => {
    if (options.copyDisks) await removeCopyLeftovers(handle, options.copyDisks);
    using params = new TypedParams(lane.library, migrationParameters(options));
    await lane.onDomain(
      "virDomainMigrateToURI3", handle, options.destinationUri, params.address, params.count, migrationFlags(options),
    );
  });
}

export function job(lane: Lane, uuid: string): Promise<JobStats> {
  return withDomain(lane, uuid, async (handle) => {
    const type: [number] = [0];
    const params: [Pointer | null] = [null];
    const count: [number] = [0];
    try {
      await lane.onDomain("virDomainGetJobStats", handle, type, params, count, 0);
      return jobStats(type[0], readTypedParams(lane.library, params[0], count[0]));
    } catch (error) {
      if (!(error instanceof HypervisorError) || !REFUSED.has(error.code)) throw error;
      const active = (await lane.onDomain("virDomainIsActive", handle)) === 1;
      return { kind: active ? "migration-in" : "none" };
    } finally {
      lane.library.local("virTypedParamsFree", params[0], count[0]);
    }
  });
}
