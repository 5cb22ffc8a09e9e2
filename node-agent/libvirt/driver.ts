/**
 * The agent's side of the driver child: sends calls, settles them, and watches. A child that is silent, hangs in an
 * open or holds a call past its deadline is killed and replaced; its calls fail, since nobody knows whether they acted,
 * and each of its hosts tells "connected" anew, upon which the agent reads the truth instead of repeating.
 */
import { backoffMs, RECONNECT } from "../../lib/backoff.ts";
import type { Clock, Timer } from "../../lib/clock.ts";
import type { Random } from "../../lib/random.ts";
import { HypervisorError } from "./hypervisor.ts";
import type { ConsoleStream, HypervisorEvent } from "./hypervisor.ts";
import type { FromDriver, HostEvent, OperationName, Operations } from "./protocol.ts";
import { DriverStream, READ_WINDOW_BYTES } from "./stream.ts";
import { LIMITS, supervise, TICK_MS } from "./supervision.ts";
import type { Limits } from "./supervision.ts";
import type { DriverProcess, DriverTransport } from "./transport.ts";

const STOP_TIMEOUT_MS = 5_000;

export type DriverOptions = {
  transport: DriverTransport;
  clock: Clock;
  random: Random;
  /** For the log: what should not have happened, and was coped with. */
  report: (fault: string) => void;
  limits?: Limits;
};

type Pending = { operation: OperationName; sentMs: number; resolve: (value: never) => void; reject: (error: Error) => void };
type Host = { uri: string; generation: number; listener: (event: HypervisorEvent) => void };
type Child = { process: DriverProcess; silentTicks: number; openAgeMs: number; stopped: () => void };

export class Driver {
  readonly #options: DriverOptions;
  readonly #limits: Limits;
  readonly #hosts = new Map<number, Host>();
  readonly #pending = new Map<number, Pending>();
  readonly #streams = new Map<number, DriverStream>();
  #child: Child | undefined;
  #lastNumber = 0;
  #attempt = 0;
  #closed = false;
  #timer: Timer | undefined;

  constructor(options: DriverOptions) {
    this.#options = options;
    this.#limits = options.limits ?? LIMITS;
    this.#spawn();
    this.#tick();
  }

  /** Starts connecting to a host, for ever; answers the number to name it by. */
  attach(uri: string, listener: (event: HypervisorEvent) => void): number {
    const number = (this.#lastNumber += 1);
    this.#hosts.set(number, { uri, generation: 0, listener });
    this.#child?.process.send({ type: "attach", host: number, uri });
    return number;
  }

  detach(host: number): void {
    if (this.#hosts.delete(host)) this.#child?.process.send({ type: "detach", host });
  }

  call<K extends OperationName>(host: number, operation: K, args: Operations[K]["arguments"]): Promise<Operations[K]["result"]> {
    const child = this.#child;
    if (child === undefined) return Promise.reject(new HypervisorError("connection-lost", "The driver is being replaced"));
    const id = (this.#lastNumber += 1);
    return new Promise<Operations[K]["result"]>((resolve, reject) => {
      this.#pending.set(id, { operation, sentMs: this.#options.clock.monotonicMs(), resolve, reject });
      child.process.send({ type: "call", host, id, operation, arguments: args });
    });
  }

  /** The stream is in this child alone, and ends with it. */
  async openConsole(host: number, { uuid, force }: { uuid: string; force: boolean }): Promise<ConsoleStream> {
    const child = this.#child;
    const number = (this.#lastNumber += 1);
    const stream = new DriverStream((request) => child?.process.send({ type: "stream", stream: number, request }));
    this.#streams.set(number, stream);
    try {
      await this.call(host, "openConsole", { uuid, stream: number, force, creditBytes: READ_WINDOW_BYTES });
      return stream;
    } catch (error) {
      this.#streams.delete(number);
      throw error;
    }
  }

  /** Gives every connection back in order, within a limit; then the child ends in any case. */
  async close(): Promise<void> {
    this.#closed = true;
    const child = this.#child;
    if (child !== undefined) await this.#stop(child);
    this.#timer?.cancel();
    this.#hosts.clear();
    if (child !== undefined) this.#lose(child, { reason: "the driver was closed", overdue: [] });
  }

  #stop(child: Child): Promise<void> {
    return new Promise((resolve) => {
      const limit = this.#options.clock.after(STOP_TIMEOUT_MS, () => {
        this.#options.report("The driver did not stop in time");
        resolve();
      });
      child.stopped = () => {
        limit.cancel();
        resolve();
      };
      child.process.send({ type: "stop" });
    });
  }

  #spawn(): void {
    const process = this.#options.transport.spawn({
      message: (message) => {
        if (this.#child === child) this.#receive(child, message);
      },
      exited: (reason) => this.#lose(child, { reason: `the driver ended: ${reason}`, overdue: [] }),
    });
    const child: Child = { process, silentTicks: 0, openAgeMs: 0, stopped: () => undefined };
    this.#child = child;
    for (const [host, { uri }] of this.#hosts) process.send({ type: "attach", host, uri });
  }

  #receive(child: Child, message: FromDriver): void {
    child.silentTicks = 0;
    switch (message.type) {
      case "heartbeat": child.openAgeMs = message.openAgeMs; return;
      case "event": return this.#relay(message.host, message.event);
      case "result": return this.#settle(message.id, ({ resolve }) => resolve(message.value as never));
      case "error": {
        const { kind, code } = message;
        return this.#settle(message.id, ({ reject }) => reject(new HypervisorError(kind, message.message, code)));
      }
      case "stream-data": return this.#streams.get(message.stream)?.received(message.data);
      case "stream-written": return this.#streams.get(message.stream)?.written(message.bytes);
      case "stream-ended": return this.#endStream(message.stream, message.error);
      case "fault": return this.#options.report(message.message);
      case "stopped": return child.stopped();
    }
  }

  #relay(number: number, event: HostEvent): void {
    const host = this.#hosts.get(number);
    if (host === undefined) return;
    if (event.type !== "connected") return host.listener(event);
    this.#attempt = 0;
    host.generation += 1;
    host.listener({ type: "connected", generation: host.generation });
  }

  #endStream(number: number, error: Extract<FromDriver, { type: "stream-ended" }>["error"]): void {
    this.#streams.get(number)?.ended(error && new HypervisorError(error.kind, error.message, error.code));
    this.#streams.delete(number);
  }

  #settle(id: number, how: (pending: Pending) => void): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (pending !== undefined) how(pending);
  }

  /** Runs for the driver's whole life. */
  #tick(): void {
    this.#timer = this.#options.clock.after(TICK_MS, () => {
      if (this.#child !== undefined) this.#watch(this.#child);
      this.#tick();
    });
  }

  #watch(child: Child): void {
    child.silentTicks += 1;
    const nowMs = this.#options.clock.monotonicMs();
    const calls = [...this.#pending].map(([id, { operation, sentMs }]) => ({ id, operation, ageMs: nowMs - sentMs }));
    const verdict = supervise({ silentTicks: child.silentTicks, openAgeMs: child.openAgeMs, calls }, this.#limits);
    if (verdict.keep) return;
    this.#options.report(`Replacing the driver: ${verdict.reason}`);
    this.#lose(child, verdict);
  }

  /** The end of a child, by itself or by us. What it still says or does afterwards is nobody's. */
  #lose(child: Child, { reason, overdue }: { reason: string; overdue: readonly number[] }): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    child.process.kill();
    child.stopped();
    const lost = [...this.#pending];
    this.#pending.clear();
    for (const [id, { reject }] of lost) {
      reject(new HypervisorError(overdue.includes(id) ? "timeout" : "connection-lost", `Lost the driver: ${reason}`));
    }
    for (const stream of this.#streams.values()) stream.ended(new HypervisorError("connection-lost", `Lost the driver: ${reason}`));
    this.#streams.clear();
    for (const host of this.#hosts.values()) host.listener({ type: "disconnected", reason });
    if (!this.#closed) this.#respawnLater();
  }

  #respawnLater(): void {
    this.#attempt += 1;
    const delayMs = backoffMs(RECONNECT, this.#attempt, this.#options.random.fraction());
    this.#options.clock.after(delayMs, () => {
      if (!this.#closed) this.#spawn();
    });
  }
}
