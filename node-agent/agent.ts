/**
 * The agent without its process: its parts put together over the ports of one host, until the signal aborts. Guests
 * outlive all of it. Used by main and by the simulation.
 */
import type { Hello } from "../gen/drover/agent/v1/agent.ts";
import type { BootIdentity } from "../gen/drover/v1/meta.ts";
import type { Connection } from "../lib/client.ts";
import { delay, every } from "../lib/clock.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Random } from "../lib/random.ts";
import { Tunnels } from "./console/tunnels.ts";
import { grpcControlPlane } from "./control-plane.ts";
import { answer } from "./commands.ts";
import type { CommandTools } from "./commands.ts";
import type { Doors } from "./door/doors.ts";
import { doorRefused } from "./door/event.ts";
import type { EventJournal } from "./event-journal.ts";
import type { Host } from "./host.ts";
import type { rememberedStore } from "./identity.ts";
import { Inventory } from "./inventory/inventory.ts";
import type { InventorySources } from "./inventory/inventory.ts";
import type { HypervisorEvent } from "./libvirt/hypervisor.ts";
import type { Endings } from "./machine/endings.ts";
import { LeftoverImages } from "./machine/leftover-images.ts";
import { LeftoverVariables } from "./machine/leftover-variables.ts";
import { Machines } from "./machine/machines.ts";
import { NODE, Outbox } from "./outbox.ts";
import { NodeReporter } from "./report.ts";
import { PROTOCOL, runSessions } from "./session.ts";
import type { Storage } from "./storage/storage.ts";

const VERSION = "0.1.0";
const FIRST_LOOK_MS = 3_000;
const LOGS_EVERY_MS = 10_000;
const LEFTOVERS_EVERY_MS = 600_000;
const IMAGES_EVERY_MS = 3_000;

type Refusal = Parameters<typeof doorRefused>[1];

/** The node's certificates, as far as the agent has to do with them. */
export type Certificates = {
  /** Before each session: whoever was put out may have joined again. */
  look(): void;
  /** Puts QEMU's own where QEMU looks for it. */
  install(): Promise<void>;
  /** Keeps them fresh until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
};

export type AgentParts = {
  /** Made once in the life of the host's disk. */
  nodeUid: string;
  boot: BootIdentity;
  /** A connection of its own for each session. */
  dial: () => Connection;
  /** For calls, and for consoles beside them. */
  calls: Connection;
  tunnels: Connection;
  host: Host;
  storage: Storage;
  /** Told of whoever was turned away at them. */
  doors: (refused: (refusal: Refusal) => void) => Doors;
  certificates: Certificates;
  journal: EventJournal;
  endings: Endings;
  store: ReturnType<typeof rememberedStore>;
  settings: InventorySources["settings"];
  /** Whether there is a way to an address at which another node receives migrations. */
  probe: CommandTools["probe"];
  bridges: NonNullable<InventorySources["bridges"]>;
  hostname: () => string;
  memoryUri: string | undefined;
  /** As in an observation. */
  quietMs?: number | undefined;
  /** Keeps a console's log bounded. */
  boundLog: (path: string) => Promise<unknown>;
  clock: Clock;
  random: Random;
  log: Logger;
};

export class Agent {
  readonly #parts: AgentParts;
  readonly #instance: string;
  readonly #outbox: Outbox;
  readonly #machines: Machines;
  readonly #reporter: NodeReporter;
  readonly #tunnels: Tunnels;
  readonly #leftovers: LeftoverVariables;
  readonly #images: LeftoverImages;
  #nodeName = "";

  constructor(parts: AgentParts) {
    const { host, storage, doors, journal, endings, store, settings, bridges, hostname, memoryUri, quietMs, boot, clock, random, log } = parts;
    const { hypervisor } = host;
    this.#parts = parts;
    const agentInstance = (this.#instance = random.uuid());
    const controlPlane = grpcControlPlane(parts.calls, clock);
    this.#outbox = new Outbox({ controlPlane, journal, agentInstance, nodeName: () => this.#nodeName, clock, random, log });
    this.#machines = new Machines({
      self: () => ({ nodeName: this.#nodeName, boot, agentInstance }),
      hypervisor, storage, controlPlane, outbox: this.#outbox, endings, memoryUri, quietMs, clock, random, log,
      blueprint: (instance) => host.blueprint(instance),
      incoming: (instance) => host.incoming(instance),
      doors: doors((refusal) => this.#outbox.record(NODE, doorRefused(this.#nodeName, refusal))),
    });
    const inventory = new Inventory({
      hypervisor: host, storage, settings, bridges, hostname,
      kvm: () => host.kvm,
      foreignDomains: () => this.#machines.foreignDomains(),
    });
    this.#reporter = new NodeReporter({ collect: () => inventory.collect(), outbox: this.#outbox, clock, log });
    this.#tunnels = new Tunnels({
      connection: parts.tunnels,
      standing: (offer) => this.#machines.stands(offer),
      consoleLogPath: (vmiUid) => storage.paths(this.#machines.uids(vmiUid)).consoleLog,
      clock, log,
    });
    this.#images = new LeftoverImages({ storage, controlPlane, storeId: () => store.known(), open: () => this.#machines.migrations(), log });
    this.#leftovers = new LeftoverVariables({ storage, controlPlane, storeId: () => store.known(), isHere: (vmUid) => this.#machines.has(vmUid), log });
  }

  /** Something of the node has changed: it is looked at anew. */
  poke(): void {
    this.#reporter.poke();
  }

  /** Returns when everything has ended. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, host: { hypervisor }, certificates } = this.#parts;
    await this.#machines.recall();
    // Registered before the connection is made, so that its first event is not missed.
    const consuming = this.#machines.consume(this.#events(signal));
    const connected = hypervisor.start(signal);
    const ignoreAbort = (error: unknown): void => {
      if (!signal.aborted) throw error;
    };
    const parts = [
      consuming,
      connected,
      this.#machines.relistAlways(signal),
      every(clock, LOGS_EVERY_MS, { run: () => this.#boundLogs(), signal, onError: (error) => log.warn({ error }, "a console's log could not be shortened") }),
      every(clock, LEFTOVERS_EVERY_MS, { run: () => this.#leftovers.sweep(), signal, onError: (error) => log.debug({ error }, "firmware variables could not be looked after") }),
      every(clock, IMAGES_EVERY_MS, { run: () => this.#images.sweep(), signal, onError: (error) => log.warn({ error }, "what migrations left here could not be looked after") }),
      // A moment for libvirt, so that a restart of the agent alone is no news.
      Promise.race([connected, delay(clock, FIRST_LOOK_MS, signal)]).then(() => this.#reporter.run(signal)),
      certificates.run(signal),
      this.#stand(signal),
    ].map((part) => part.catch(ignoreAbort));
    log.info({ agentInstance: this.#instance, nodeUid: this.#parts.nodeUid }, "running");
    const closed = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(this.#close()), { once: true }));
    await Promise.all([...parts, closed]);
  }

  async #close(): Promise<void> {
    this.#machines.close();
    this.#outbox.close();
    await this.#parts.host.hypervisor.close();
  }

  #stand(signal: AbortSignal): Promise<void> {
    const { dial, calls, certificates, host, probe, clock, random, log } = this.#parts;
    const connect = (): Connection => {
      certificates.look();
      return dial();
    };
    const listener = {
      welcome: this.#welcome.bind(this),
      assignment: this.#machines.assign.bind(this.#machines),
      synced: () => this.#machines.synced(),
      withdrawn: ({ vmiUid }: { vmiUid: string }) => this.#machines.withdraw(vmiUid),
      tunnel: (offer: Parameters<Tunnels["accept"]>[0]) => this.#tunnels.accept(offer, signal),
    };
    const tools = { hypervisor: host.hypervisor, emulator: () => host.emulator(), probe, act: this.#machines.act.bind(this.#machines), clock };
    return runSessions({ connect, calls, hello: () => this.#hello(), answer: (command) => answer(tools, command), clock, random, log, listener }, signal);
  }

  #welcome({ nodeName, storeId, sessionId }: { nodeName: string; storeId: string; sessionId: string }): void {
    const { store, log } = this.#parts;
    this.#nodeName = nodeName;
    const hold = !store.matches(storeId);
    if (hold) log.error({ storeId, known: store.known() }, "the API server keeps another store than this node belongs to: nothing is changed");
    this.#machines.beginSession(hold);
    this.#outbox.retryNow();
    this.#reporter.tellAgain();
    log.info({ node: nodeName, session: sessionId }, "session stands");
  }

  #hello(): Hello {
    const { nodeUid, boot } = this.#parts;
    return {
      protocolMin: PROTOCOL, protocolMax: PROTOCOL, features: [], nodeUid, boot, agentInstance: this.#instance, agentVersion: VERSION,
      lastAcknowledgedSeq: this.#outbox.acknowledgedSeq,
    };
  }

  async *#events(signal: AbortSignal): AsyncGenerator<HypervisorEvent> {
    for await (const event of this.#parts.host.hypervisor.events(signal)) {
      this.#onEvent(event);
      yield event;
    }
  }

  #onEvent(event: HypervisorEvent): void {
    const { host, certificates, log } = this.#parts;
    if (event.type === "connected") {
      host.forgetFacts();
      void certificates.install().then(() => this.poke());
      void host.check().then(() => this.poke(), (error: unknown) => log.warn({ error }, "KVM could not be checked"));
    }
    if (event.type === "connected" || event.type === "disconnected") this.poke();
  }

  async #boundLogs(): Promise<void> {
    const { storage, boundLog } = this.#parts;
    for (const vmiUid of await storage.machines()) await boundLog(storage.paths({ vmiUid, vmUid: vmiUid }).consoleLog);
  }
}
