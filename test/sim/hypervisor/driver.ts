/** The driver child of one agent, which may hang, die, and answer late; the daemon goes on with what it was asked. */
import type { FromDriver, ToDriver } from "../../../node-agent/libvirt/protocol.ts";
import type { DriverListener, DriverProcess, DriverTransport } from "../../../node-agent/libvirt/transport.ts";
import type { Failpoints } from "../programs/failpoints.ts";
import type { Life } from "../world/life.ts";
import type { SimHost } from "./host.ts";
import { carryOut } from "./operations.ts";

const START_MS = 120;
const HEARTBEAT_MS = 1_000;
const CONNECT_MS: [number, number] = [10, 60];
const RECONNECT_MS = 300;
/** An open connection to a frozen daemon is given up after this, by its own keepalive. */
const DAEMON_KEEPALIVE_MS = 6_000;

export type DriverHome = { host: SimHost; life: Life; failpoints: Failpoints };

export class SimDrivers implements DriverTransport {
  readonly #home: DriverHome;
  current: SimDriver | undefined;

  constructor(home: DriverHome) {
    this.#home = home;
  }

  spawn(listener: DriverListener): DriverProcess {
    this.current = new SimDriver(this.#home, listener);
    return this.current;
  }
}

export class SimDriver implements DriverProcess {
  readonly #home: DriverHome;
  readonly #listener: DriverListener;
  /** What a hung child would have taken and said by now. */
  readonly #late: (() => void)[] = [];
  #alive = true;
  #hangs = false;
  #attached: number | undefined;
  #unsubscribe: (() => void) | undefined;
  #openSinceMs: number | undefined;
  #connected = false;

  constructor(home: DriverHome, listener: DriverListener) {
    this.#home = home;
    this.#listener = listener;
    home.host.world.after(START_MS, () => this.#beat());
  }

  get #isAlive(): boolean {
    return this.#alive && !this.#home.life.dead && this.#home.host.up;
  }

  send(message: ToDriver): void {
    if (!this.#isAlive) return;
    if (this.#hangs) return void this.#late.push(() => this.send(message));
    const { host, failpoints, life } = this.#home;
    if (message.type === "attach") {
      this.#attached = message.host;
      host.world.after(START_MS, () => this.#connect());
    } else if (message.type === "call") {
      const { id, operation } = message;
      if (CRITICAL.has(operation) && failpoints.passes(life, `node-agent.${operation}.before`)) return;
      if (!this.#connected) return this.#say({ type: "error", id, kind: "connection-lost", code: 0, message: "libvirt is not connected" });
      carryOut(host, {
        operation, args: message.arguments,
        done: (outcome) => {
          if (CRITICAL.has(operation) && this.#isAlive && failpoints.passes(life, `node-agent.${operation}.after`)) return;
          if ("value" in outcome) this.#say({ type: "result", id, value: outcome.value });
          else this.#say({ type: "error", id, kind: outcome.error.kind, code: outcome.error.code, message: outcome.error.message });
        },
      });
    } else if (message.type === "detach" || message.type === "stop") {
      this.#drop();
      if (message.type === "stop") this.#say({ type: "stopped" });
    }
  }

  kill(): void {
    this.#alive = false;
    this.#drop();
  }

  /** kill -9 by somebody else. */
  die(): void {
    if (!this.#isAlive) return;
    this.kill();
    const { life } = this.#home;
    life.world.after(1, () => life.enter(() => this.#listener.exited("killed by SIGKILL")));
  }

  /** SIGSTOP; what it was about to say comes when it goes on, if anybody still listens. */
  hang(forMs: number): void {
    if (this.#hangs) return;
    this.#hangs = true;
    this.#home.host.world.after(forMs, () => {
      this.#hangs = false;
      for (const run of this.#late.splice(0)) run();
    });
  }

  #connect(): void {
    const { host } = this.#home;
    const { world } = host;
    if (!this.#isAlive || this.#attached === undefined || this.#unsubscribe) return;
    if (!host.daemonUp) return void world.after(RECONNECT_MS, () => this.#connect());
    if (host.daemonHangs) {
      this.#openSinceMs ??= world.nowMs;
      return void world.after(RECONNECT_MS, () => this.#connect());
    }
    this.#openSinceMs = undefined;
    this.#unsubscribe = () => undefined;
    world.after(host.chance.between(...CONNECT_MS), () => this.#opened());
  }

  #opened(): void {
    const { host } = this.#home;
    const { daemon } = host;
    if (!this.#isAlive || !host.daemonUp) {
      this.#unsubscribe = undefined;
      return void host.world.after(RECONNECT_MS, () => this.#connect());
    }
    const unsubscribe = host.subscribe((event) => {
      this.#say({ type: "event", host: this.#attached!, event });
      if (event.type === "disconnected") this.#reconnect(unsubscribe);
    });
    this.#unsubscribe = unsubscribe;
    this.#connected = true;
    this.#say({ type: "event", host: this.#attached!, event: { type: "connected" } });
    this.#minds(daemon);
  }

  /** A daemon that lies still loses its connections. */
  #minds(daemon: number, hungMs = 0): void {
    const { host } = this.#home;
    host.world.after(2_000, () => {
      if (!this.#isAlive || host.daemon !== daemon || !this.#unsubscribe) return;
      const hungNowMs = host.daemonHangs ? hungMs + 2_000 : 0;
      if (hungNowMs < DAEMON_KEEPALIVE_MS) return this.#minds(daemon, hungNowMs);
      this.#say({ type: "event", host: this.#attached!, event: { type: "disconnected", reason: "libvirt has stopped answering" } });
      this.#reconnect(this.#unsubscribe);
    });
  }

  #reconnect(unsubscribe: () => void): void {
    unsubscribe();
    this.#unsubscribe = undefined;
    this.#connected = false;
    this.#home.host.world.after(RECONNECT_MS, () => this.#connect());
  }

  #drop(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#attached = undefined;
  }

  #beat(): void {
    const { world } = this.#home.host;
    if (!this.#isAlive) return;
    if (!this.#hangs) this.#say({ type: "heartbeat", openAgeMs: this.#openSinceMs === undefined ? 0 : world.nowMs - this.#openSinceMs });
    world.after(HEARTBEAT_MS, () => this.#beat());
  }

  #say(message: FromDriver): void {
    if (!this.#isAlive) return;
    if (this.#hangs) return void this.#late.push(() => this.#say(message));
    this.#home.life.enter(() => this.#listener.message(message));
  }
}

/** What changes a host: the places at which it matters who dies. */
const CRITICAL: ReadonlySet<string> = new Set(["launch", "destroy", "undefine", "setMetadata", "migrate", "abortJob", "shutdown"]);
