/**
 * The port that the agent sees: plain objects and promises, no handle of any library. Adapters: libvirt (a driver
 * child process), libvirt's test driver, and the simulation. A domain is always named by its UUID.
 */

/** libvirt's virDomainState by name, with the numeric reason as libvirt gives it and its name for logs and phases. */
export type DomainState = "nostate" | "running" | "blocked" | "paused" | "shutdown" | "shutoff" | "crashed" | "pmsuspended";

export type Domain = {
  uuid: string;
  name: string;
  state: DomainState;
  /** libvirt's reason name in lower case, such as `migrated`, `postcopy-failed`, `destroyed`, `crashed`. */
  reason: string;
  persistent: boolean;
  /** The text of Drover's metadata element; absent on a domain that Drover did not make. */
  metadata?: string;
};

export type JobKind = "none" | "migration-out" | "migration-in" | "other";

/** A running job's figures; absent ones are not known at this moment of the job. Bytes and milliseconds. */
export type JobStats = {
  kind: JobKind;
  memoryTotalBytes?: number;
  memoryProcessedBytes?: number;
  memoryRemainingBytes?: number;
  memoryBytesPerSecond?: number;
  dirtyPagesPerSecond?: number;
  pageSizeBytes?: number;
  iteration?: number;
  throttlePercent?: number;
  elapsedMs?: number;
  setupMs?: number;
  downtimeMs?: number;
  diskTotalBytes?: number;
  diskProcessedBytes?: number;
  diskRemainingBytes?: number;
};

export type HypervisorEvent =
  | { type: "lifecycle"; uuid: string; name: string; event: LifecycleEvent; detail: number }
  /** Comes only after a success, with the final figures. */
  | { type: "job-completed"; uuid: string; stats: JobStats }
  | { type: "migration-iteration"; uuid: string; iteration: number }
  | { type: "agent-lifecycle"; uuid: string; connected: boolean }
  /** Events may have been lost before this one: list again and compare. First after each (re)connection. */
  | { type: "connected"; generation: number }
  | { type: "disconnected"; reason: string };
export type LifecycleEvent =
  | "defined" | "undefined" | "started" | "suspended" | "resumed" | "stopped" | "shutdown" | "pmsuspended" | "crashed";

export type HostInventory = {
  hostname: string;
  architecture: string;
  libvirtVersion: string;
  hypervisorVersion: string;
  emulator: string;
  cpus: number;
  memoryBytes: number;
  /** Virtualization types that libvirt offers (`kvm`, `qemu`, `test`); whether kvm works is for the canary boot to say. */
  domainTypes: string[];
  /** Pinned machine types (`pc-q35-7.2`), no aliases; `aliases` maps `q35` to one. */
  machineTypes: string[];
  machineAliases: Record<string, string>;
  /** Named CPU models that guests of `domainType` can be given here, the host model, and whether the others work. */
  cpuModels: { domainType: string; usable: string[]; hostModel?: string; hostPassthrough: boolean; maximum: boolean };
  /** Names of active libvirt networks. */
  networks: string[];
  /** Whom QEMU runs as, where libvirt says so. */
  qemuOwner?: { uid: number; gid: number };
};

/** A CPU in libvirt's XML, and what would run the guest that has it. */
export type CpuQuestion = { cpuXml: string; emulator: string; architecture: string; machineType: string; domainType: string };
/** `message` says what is missing. */
export type CpuVerdict = { compatible: boolean; message: string };
/** What is not known is absent. */
export type MemoryLoad = { residentBytes?: number; dirtyBytesPerSecond?: number };

export type MigrateOptions = {
  /** libvirt URI of the target's daemon. */
  destinationUri: string;
  /** `tcp://host` on which the target's QEMU listens for memory; absent leaves it to libvirt. */
  migrationUri?: string;
  /** XML of the domain as it shall be at the target: live and persistent. */
  destinationXml: string;
  persistentXml: string;
  bandwidthMiBps?: number;
  autoConverge?: boolean;
  parallelConnections?: number;
  /** Encrypt memory by QEMU's native TLS; `tlsDestination` is the name that the target's certificate must carry. */
  tls?: boolean;
  tlsDestination?: string;
  /**
   * Both hosts have been shown to see the same disks, uncached. libvirt takes only network file systems for shared and
   * refuses everything else unless it is told.
   */
  disksKnownShared?: boolean;
  /**
   * `startPostCopy` may hand the guest to the target before its memory is there. From then on the guest is in two
   * halves, and the loss of either host loses it.
   */
  postCopy?: boolean;
  /** The limit once post-copy has begun, which `bandwidthMiBps` does not cover. */
  postCopyBandwidthMiBps?: number;
  /** Goes on with a post-copy that broke; every other option as at first. `abortJob` with `postCopy` must come before. */
  resumePostCopy?: boolean;
  /**
   * Also copies disks, into images that already lie at the target: `incremental` each disk's top image, onto one over the
   * same backing image; `full` all that a guest sees of it. Absent: the hosts share every disk.
   */
  copyStorage?: "incremental" | "full";
  /** Names of the disks to copy at their targets, such as `vda`; absent: all that can be written. */
  copyDisks?: readonly string[];
};

/** A guest's serial console, for one reader and one writer. Ends with the guest, the connection, or `close`. */
export interface ConsoleStream {
  /** What the guest writes from now on. Ends when the console does; throws when it was lost, or taken by another. */
  read(): AsyncIterable<Uint8Array>;
  /** Resolves when all is on its way and the guest has taken enough of it. */
  write(data: Uint8Array): Promise<void>;
  /** Safe to repeat. */
  close(): void;
}

/** The domain that the XML makes, named apart from it so that others with its uuid or name are found. */
export type LaunchOptions = { uuid: string; name: string; xml: string };

export interface Hypervisor {
  /** Starts connecting; resolves at the first connection. Reconnects for ever by itself, each time telling by event. */
  start(signal: AbortSignal): Promise<void>;
  /** Everything that happened, in order; one consumer. */
  events(signal: AbortSignal): AsyncIterable<HypervisorEvent>;
  /** CPU models are those for `domainType`: `kvm` once it is known to work here; `qemu` when absent. */
  inventory(domainType?: string): Promise<HostInventory>;
  /** Every domain, active or only defined. */
  list(): Promise<Domain[]>;
  /** Undefined when there is no such domain. */
  get(uuid: string): Promise<Domain | undefined>;
  findByName(name: string): Promise<Domain | undefined>;
  /** Live XML, or the persistent definition; with `migratable` the form to derive a destination's XML from. Never with secrets. */
  xml(uuid: string, form: "live" | "inactive" | "migratable"): Promise<string>;
  /**
   * Defines and starts, and answers what libvirt then shows of the domain. Does neither when its uuid or name is that of
   * a domain which Drover did not make (`already-exists`), or when it runs (`invalid-state`).
   */
  launch(options: LaunchOptions): Promise<Domain>;
  /** Defines or redefines; answers the UUID. */
  define(xml: string): Promise<string>;
  create(uuid: string): Promise<void>;
  /** Asks the guest by ACPI; says nothing on whether it listens. */
  shutdown(uuid: string): Promise<void>;
  destroy(uuid: string): Promise<void>;
  undefine(uuid: string): Promise<void>;
  suspend(uuid: string): Promise<void>;
  resume(uuid: string): Promise<void>;
  reset(uuid: string): Promise<void>;
  /** Replaces Drover's metadata element, in the live and the persistent definition as they exist. */
  setMetadata(uuid: string, metadata: string): Promise<void>;
  /** Peer-to-peer live migration; resolves when it is over. Has a lane of its own and no deadline. */
  migrate(uuid: string, options: MigrateOptions): Promise<void>;
  /** `kind: "none"` when no job runs. */
  job(uuid: string): Promise<JobStats>;
  /** Hands the guest of a migration that allows it to the target at once, and its memory after it. No way back. */
  startPostCopy(uuid: string): Promise<void>;
  /**
   * Ends a job as though it had never begun. Past the start of post-copy libvirt refuses that; with `postCopy` it breaks
   * the migration off instead, the guest staying in two halves, so that it can be resumed.
   */
  abortJob(uuid: string, options?: { postCopy: true }): Promise<void>;
  setMigrationSpeed(uuid: string, mebibytesPerSecond: number): Promise<void>;
  /** How long the switch-over may take; while a migration runs it holds for that one. */
  setMaxDowntime(uuid: string, milliseconds: number): Promise<void>;
  /** Whether guests with a CPU can run here; `unsupported` by hypervisors without processors. */
  compareCpu(question: CpuQuestion): Promise<CpuVerdict>;
  /** Begins to measure, by samples, how much of its memory the guest changes; `memoryLoad` has the result when the time is over. */
  startDirtyRate(uuid: string, seconds: number): Promise<void>;
  memoryLoad(uuid: string): Promise<MemoryLoad>;
  /**
   * Opens the first serial console, which must be a `pty`: libvirt streams no other. Only one can have it at a time:
   * without `force` a second one is refused, with it the first one is cut off.
   */
  openConsole(uuid: string, options?: { force?: boolean }): Promise<ConsoleStream>;
  close(): Promise<void>;
}

/** What went wrong, by what the agent would do differently. `code` is libvirt's own number, for logs. */
export type HypervisorErrorKind =
  | "no-domain" | "already-exists" | "invalid-state" | "unsupported" | "invalid-xml" | "denied"
  /** The daemon was lost during the call: whether it acted is unknown, so look before doing it again. */
  | "connection-lost"
  /** The deadline passed; the driver was replaced and the outcome is unknown. */
  | "timeout"
  | "failed";

export class HypervisorError extends Error {
  override name = "HypervisorError";
  readonly kind: HypervisorErrorKind;
  readonly code: number;
  constructor(kind: HypervisorErrorKind, message: string, code = 0) {
    super(message);
    this.kind = kind;
    this.code = code;
  }
}
