/** The Hypervisor port over libvirt: one host of a driver child, with each class of call let through as lanes allow. */
import type { Clock } from "../../lib/clock.ts";
import type { Random } from "../../lib/random.ts";
import { childTransport } from "./child-transport.ts";
import { Driver } from "./driver.ts";
import { EventQueue } from "./event-queue.ts";
import { Gate } from "./gate.ts";
import { HypervisorError } from "./hypervisor.ts";
import type { ConsoleStream, CpuQuestion, Hypervisor, HypervisorEvent, LaunchOptions, MigrateOptions } from "./hypervisor.ts";
import type { OperationName, Operations } from "./protocol.ts";
import { CALL_CLASS, CONCURRENCY } from "./supervision.ts";
import type { CallClass } from "./supervision.ts";

export type LibvirtOptions = {
  uri: string;
  driver: Driver;
  /** The driver serves this host alone, and ends with it. */
  ownsDriver?: boolean;
};

/** A hypervisor with a driver child of its own: what a real node has. */
export function libvirtHypervisor(
  { uri, clock, random, report }:
  { uri: string; clock: Clock; random: Random; report: (fault: string) => void },
): LibvirtHypervisor {
  const driver = new Driver({ transport: childTransport(), clock, random, report });
  return new LibvirtHypervisor({ uri, driver, ownsDriver: true });
}

export class LibvirtHypervisor implements Hypervisor {
  readonly #options: LibvirtOptions;
  readonly #gates: Record<CallClass, Gate>;
  readonly #events = new EventQueue();
  readonly #connected = Promise.withResolvers<void>();
  #host: number | undefined;

  constructor(options: LibvirtOptions) {
    this.#options = options;
    this.#connected.promise.catch(() => undefined); // Closed before it was ever started.
    this.#gates = {
      query: new Gate(CONCURRENCY.query),
      change: new Gate(CONCURRENCY.change),
      job: new Gate(CONCURRENCY.job),
      migrate: new Gate(CONCURRENCY.migrate),
    };
  }

  /** The signal ends only the wait; `close` ends the connecting. */
  start(signal: AbortSignal): Promise<void> {
    this.#host ??= this.#options.driver.attach(this.#options.uri, (event) => this.#receive(event));
    return new Promise((resolve, reject) => {
      const stop = () => reject(signal.reason as Error);
      if (signal.aborted) return stop();
      signal.addEventListener("abort", stop, { once: true });
      this.#connected.promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
    });
  }

  events(signal: AbortSignal): AsyncIterable<HypervisorEvent> {
    return this.#events.read(signal);
  }

  inventory = (domainType = "qemu") => this.#call("inventory", { domainType });
  list = () => this.#call("list", {});
  get = (uuid: string) => this.#call("get", { uuid });
  findByName = (name: string) => this.#call("findByName", { name });
  xml = (uuid: string, form: "live" | "inactive" | "migratable") => this.#call("xml", { uuid, form });
  launch = (options: LaunchOptions) => this.#call("launch", options);
  define = (xml: string) => this.#call("define", { xml });
  create = (uuid: string) => this.#call("create", { uuid });
  shutdown = (uuid: string) => this.#call("shutdown", { uuid });
  destroy = (uuid: string) => this.#call("destroy", { uuid });
  undefine = (uuid: string) => this.#call("undefine", { uuid });
  suspend = (uuid: string) => this.#call("suspend", { uuid });
  resume = (uuid: string) => this.#call("resume", { uuid });
  reset = (uuid: string) => this.#call("reset", { uuid });
  setMetadata = (uuid: string, metadata: string) => this.#call("setMetadata", { uuid, metadata });
  migrate = (uuid: string, options: MigrateOptions) => this.#call("migrate", { uuid, options });
  job = (uuid: string) => this.#call("job", { uuid });
  startPostCopy = (uuid: string) => this.#call("startPostCopy", { uuid });
  abortJob = (uuid: string, options?: { postCopy: true }) => this.#call("abortJob", { uuid, ...options });
  setMigrationSpeed = (uuid: string, mebibytesPerSecond: number) =>
    this.#call("setMigrationSpeed", { uuid, mebibytesPerSecond });
  setMaxDowntime = (uuid: string, milliseconds: number) => this.#call("setMaxDowntime", { uuid, milliseconds });
  compareCpu = (question: CpuQuestion) => this.#call("compareCpu", question);
  startDirtyRate = (uuid: string, seconds: number) => this.#call("startDirtyRate", { uuid, seconds });
  memoryLoad = (uuid: string) => this.#call("memoryLoad", { uuid });

  openConsole(uuid: string, { force = false }: { force?: boolean } = {}): Promise<ConsoleStream> {
    return this.#through("openConsole", (host) => this.#options.driver.openConsole(host, { uuid, force }));
  }

  async close(): Promise<void> {
    const { driver, ownsDriver } = this.#options;
    if (ownsDriver) await driver.close();
    else if (this.#host !== undefined) driver.detach(this.#host);
    this.#host = undefined;
    this.#connected.reject(new HypervisorError("connection-lost", "The hypervisor was closed"));
    this.#events.end();
  }

  #receive(event: HypervisorEvent): void {
    this.#events.push(event);
    if (event.type === "connected") this.#connected.resolve();
  }

  #call<K extends OperationName>(operation: K, args: Operations[K]["arguments"]): Promise<Operations[K]["result"]> {
    return this.#through(operation, (host) => this.#options.driver.call(host, operation, args));
  }

  #through<T>(operation: OperationName, call: (host: number) => Promise<T>): Promise<T> {
    const host = this.#host;
    if (host === undefined) return Promise.reject(new HypervisorError("connection-lost", "The hypervisor is not started"));
    return this.#gates[CALL_CLASS[operation]].run(() => call(host));
  }
}
