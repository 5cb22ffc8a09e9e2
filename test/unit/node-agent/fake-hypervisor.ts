/** A libvirt in memory: domains, events and migrations between two of them, with what a test makes go wrong. */
import { droverElement } from "../../../node-agent/libvirt/metadata.ts";
import { HypervisorError } from "../../../node-agent/libvirt/hypervisor.ts";
import { refuseOthers } from "../../../node-agent/libvirt/others.ts";
import type {
  ConsoleStream, CpuQuestion, CpuVerdict, Domain, DomainState, HostInventory, Hypervisor, HypervisorEvent, JobStats, LaunchOptions, LifecycleEvent, MemoryLoad, MigrateOptions,
} from "../../../node-agent/libvirt/hypervisor.ts";

type Entry = Domain & { xml: string };

export class FakeHypervisor implements Hypervisor {
  readonly domains = new Map<string, Entry>();
  readonly calls: string[] = [];
  /** Thrown once by the named call, before it does anything. */
  readonly faults = new Map<string, Error>();
  /** How often a domain was looked at by its uuid. */
  looks = 0;
  /** What happens while a look is on its way back. */
  onLook: () => void = () => undefined;
  job_: JobStats = { kind: "none" };
  cpuAsked: CpuQuestion | undefined;
  cpu: CpuVerdict = { compatible: true, message: "" };
  load: MemoryLoad = {};
  /** What a shut-down request does to the guest. */
  onShutdown: (uuid: string) => void = (uuid) => this.end(uuid, "shutdown");
  migration: (options: MigrateOptions) => Promise<void> = () => Promise.resolve();
  #events: HypervisorEvent[] = [];
  #wake: (() => void) | undefined;

  emit(event: HypervisorEvent): void {
    this.#events.push(event);
    this.#wake?.();
  }

  set(uuid: string, change: { state: DomainState; reason: string }, event: LifecycleEvent): void {
    const entry = this.domains.get(uuid);
    if (entry) this.domains.set(uuid, { ...entry, ...change });
    this.emit({ type: "lifecycle", uuid, name: entry?.name ?? "", event, detail: 0 });
  }

  end(uuid: string, reason: string): void {
    this.set(uuid, { state: "shutoff", reason }, "stopped");
  }

  put(domain: Partial<Entry> & { uuid: string }): void {
    this.domains.set(domain.uuid, { name: domain.uuid, state: "running", reason: "booted", persistent: true, xml: "", ...domain });
    this.emit({ type: "lifecycle", uuid: domain.uuid, name: "", event: "started", detail: 0 });
  }

  async start(): Promise<void> {
    this.emit({ type: "connected", generation: 1 });
  }

  async *events(signal: AbortSignal): AsyncGenerator<HypervisorEvent> {
    signal.addEventListener("abort", () => this.#wake?.());
    while (!signal.aborted) {
      const event = this.#events.shift();
      if (event) yield event;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  inventory(): Promise<HostInventory> {
    throw new HypervisorError("unsupported", "not asked for here");
  }

  async list(): Promise<Domain[]> {
    this.#note("list");
    return [...this.domains.values()];
  }

  async get(uuid: string): Promise<Domain | undefined> {
    this.looks += 1;
    this.#fault("get");
    const seen = this.domains.get(uuid);
    this.onLook();
    return seen;
  }

  async findByName(name: string): Promise<Domain | undefined> {
    return [...this.domains.values()].find((domain) => domain.name === name);
  }

  async xml(uuid: string): Promise<string> {
    return this.#entry(uuid).xml;
  }

  async launch({ uuid, name, xml }: LaunchOptions): Promise<Domain> {
    refuseOthers({ uuid, name }, { sameUuid: this.domains.get(uuid), sameName: await this.findByName(name) });
    await this.define(xml);
    await this.create(uuid);
    return this.#entry(uuid);
  }

  async define(xml: string): Promise<string> {
    this.#note("define");
    const uuid = /<uuid>(.*?)<\/uuid>/.exec(xml)?.[1] ?? "";
    const name = /<name>(.*?)<\/name>/.exec(xml)?.[1] ?? "";
    const metadata = droverElement(xml);
    const state = this.domains.get(uuid) ?? { state: "shutoff" as const, reason: "unknown" };
    this.domains.set(uuid, { uuid, name, xml, persistent: true, state: state.state, reason: state.reason, ...(metadata ? { metadata } : {}) });
    return uuid;
  }

  async create(uuid: string): Promise<void> {
    this.#note("create");
    this.#entry(uuid);
    this.set(uuid, { state: "running", reason: "booted" }, "started");
  }

  async shutdown(uuid: string): Promise<void> {
    this.#note("shutdown");
    this.onShutdown(uuid);
  }

  async destroy(uuid: string): Promise<void> {
    this.#note("destroy");
    this.#entry(uuid);
    this.end(uuid, "destroyed");
  }

  async undefine(uuid: string): Promise<void> {
    this.#note("undefine");
    this.#entry(uuid);
    this.domains.delete(uuid);
  }

  async suspend(uuid: string): Promise<void> {
    this.set(uuid, { state: "paused", reason: "user" }, "suspended");
  }

  async resume(uuid: string): Promise<void> {
    this.set(uuid, { state: "running", reason: "unpaused" }, "resumed");
  }

  async reset(): Promise<void> {
    this.#note("reset");
  }

  async setMetadata(uuid: string, metadata: string): Promise<void> {
    this.#note("setMetadata");
    this.domains.set(uuid, { ...this.#entry(uuid), metadata });
  }

  async migrate(uuid: string, options: MigrateOptions): Promise<void> {
    this.#note("migrate");
    this.#entry(uuid);
    await this.migration(options);
  }

  compareCpu(question: CpuQuestion): Promise<CpuVerdict> {
    this.#note("compareCpu");
    this.cpuAsked = question;
    return Promise.resolve(this.cpu);
  }

  startDirtyRate(uuid: string): Promise<void> {
    this.#note("startDirtyRate");
    this.#entry(uuid);
    return Promise.resolve();
  }

  memoryLoad(): Promise<MemoryLoad> {
    return Promise.resolve(this.load);
  }

  async job(): Promise<JobStats> {
    return this.job_;
  }

  async startPostCopy(): Promise<void> {
    this.#note("startPostCopy");
  }

  async abortJob(): Promise<void> {
    this.#note("abortJob");
  }

  async setMigrationSpeed(): Promise<void> {
    this.#note("setMigrationSpeed");
  }

  async setMaxDowntime(): Promise<void> {
    this.#note("setMaxDowntime");
  }

  async openConsole(): Promise<ConsoleStream> {
    throw new HypervisorError("unsupported", "no guest runs here");
  }

  async close(): Promise<void> {
    this.#wake?.();
  }

  #note(call: string): void {
    this.calls.push(call);
    this.#fault(call);
  }

  #fault(call: string): void {
    const fault = this.faults.get(call);
    this.faults.delete(call);
    if (fault) throw fault;
  }

  #entry(uuid: string): Entry {
    const entry = this.domains.get(uuid);
    if (!entry) throw new HypervisorError("no-domain", `no domain ${uuid}`, 42);
    return entry;
  }
}
