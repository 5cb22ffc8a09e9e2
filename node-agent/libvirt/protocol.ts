/**
 * What the agent and its driver child say to each other. One child serves any number of hosts, each under a number
 * that the agent chose; a real node has one, a fleet of test hosts has many.
 */
import type {
  CpuQuestion, CpuVerdict, Domain, HostInventory, HypervisorErrorKind, HypervisorEvent, JobStats, LaunchOptions, MemoryLoad, MigrateOptions,
} from "./hypervisor.ts";

type Of<Arguments, Result> = { arguments: Arguments; result: Result };
type OnDomain = { uuid: string };

/** Every operation, named as in the port that it serves. */
export type Operations = {
  inventory: Of<{ domainType: string }, HostInventory>;
  list: Of<object, Domain[]>;
  get: Of<OnDomain, Domain | undefined>;
  findByName: Of<{ name: string }, Domain | undefined>;
  xml: Of<OnDomain & { form: "live" | "inactive" | "migratable" }, string>;
  launch: Of<LaunchOptions, Domain>;
  define: Of<{ xml: string }, string>;
  create: Of<OnDomain, void>;
  shutdown: Of<OnDomain, void>;
  destroy: Of<OnDomain, void>;
  undefine: Of<OnDomain, void>;
  suspend: Of<OnDomain, void>;
  resume: Of<OnDomain, void>;
  reset: Of<OnDomain, void>;
  setMetadata: Of<OnDomain & { metadata: string }, void>;
  migrate: Of<OnDomain & { options: MigrateOptions }, void>;
  job: Of<OnDomain, JobStats>;
  startPostCopy: Of<OnDomain, void>;
  abortJob: Of<OnDomain & { postCopy?: true }, void>;
  setMigrationSpeed: Of<OnDomain & { mebibytesPerSecond: number }, void>;
  setMaxDowntime: Of<OnDomain & { milliseconds: number }, void>;
  compareCpu: Of<CpuQuestion, CpuVerdict>;
  startDirtyRate: Of<OnDomain & { seconds: number }, void>;
  memoryLoad: Of<OnDomain, MemoryLoad>;
  /** Under a number of the agent's. Its end is told by `stream-ended`, unless it could not be opened at all. */
  openConsole: Of<OnDomain & { stream: number; force: boolean; creditBytes: number }, void>;
};
export type OperationName = keyof Operations;

/** The first host event of a connection carries no generation: the agent counts them, across children. */
export type HostEvent = Exclude<HypervisorEvent, { type: "connected" }> | { type: "connected" };

export type ToDriver =
  | { type: "attach"; host: number; uri: string }
  | { type: "detach"; host: number }
  | { type: "call"; host: number; id: number; operation: OperationName; arguments: Operations[OperationName]["arguments"] }
  | { type: "stream"; stream: number; request: StreamRequest }
  | { type: "stop" };

/** What is done with an open stream; nothing of it is answered. */
export type StreamRequest =
  | { do: "write"; data: Uint8Array }
  /** So many bytes more may be sent. */
  | { do: "credit"; bytes: number }
  | { do: "close" };

export type FromDriver =
  | { type: "result"; id: number; value: unknown }
  | { type: "error"; id: number; kind: HypervisorErrorKind; code: number; message: string }
  | { type: "stream-data"; stream: number; data: Uint8Array }
  | { type: "stream-written"; stream: number; bytes: number }
  | { type: "stream-ended"; stream: number; error?: { kind: HypervisorErrorKind; code: number; message: string } }
  | { type: "event"; host: number; event: HostEvent }
  /** Once a second. `openAgeMs` is the age of the oldest connection attempt that has not returned; 0 for none. */
  | { type: "heartbeat"; openAgeMs: number }
  /** Something that must not happen but does not stop the child, such as a leaked handle. */
  | { type: "fault"; message: string }
  | { type: "stopped" };
