/** The real programs, started and killed: one API server, one controller, an agent on each host, and the users' hand. */
import { assemble } from "../../../api-server/assemble.ts";
import { Authenticator } from "../../../api-server/interceptors/authenticate.ts";
import { agentCaller, localCaller } from "../../../api-server/interceptors/peer.ts";
import { BUDGETS, CallBudgets } from "../../../api-server/limits/call-budgets.ts";
import { loadSchema } from "../../../api-server/schema.ts";
import { wire } from "../../../api-server/server.ts";
import type { Listener, Wiring } from "../../../api-server/server.ts";
import { agentServices, publicServices } from "../../../api-server/services/table.ts";
import { fieldRules } from "../../../api-server/validate/field-rules.ts";
import { MIGRATION_BUDGETS } from "../../../controller/migration/budgets.ts";
import { runController } from "../../../controller/controller.ts";
import { AddressProbe, ProbeOutcome } from "../../../gen/drover/agent/v1/agent.ts";
import { KvmState } from "../../../gen/drover/v1/node.ts";
import type { Connection } from "../../../lib/client.ts";
import { MIGRATION_DEFAULTS } from "../../../lib/migration-policy.ts";
import { Agent } from "../../../node-agent/agent.ts";
import { Host } from "../../../node-agent/host.ts";
import { Driver } from "../../../node-agent/libvirt/driver.ts";
import { LibvirtHypervisor } from "../../../node-agent/libvirt/libvirt-hypervisor.ts";
import { Leadership } from "../check/leadership.ts";
import { SimDrivers } from "../hypervisor/driver.ts";
import { SimHost } from "../hypervisor/host.ts";
import type { HostListener } from "../hypervisor/host.ts";
import { simConnection } from "../network/client.ts";
import { Network } from "../network/network.ts";
import { SimServer } from "../network/server.ts";
import type { ListenerName } from "../network/server.ts";
import { DurableStore } from "../store/durable.ts";
import { SimStore, SOUND } from "../store/sim-store.ts";
import type { Disk } from "../store/sim-store.ts";
import { Life } from "../world/life.ts";
import type { World } from "../world/world.ts";
import { Failpoints } from "./failpoints.ts";
import { doorsOn, endingsOn, HostFiles, journalOn, storageOn, storeOn } from "./host-files.ts";

export const LEASE_MS = 15_000;
export const CONTROLLERS: readonly string[] = ["controller", "controller-2"];
const MIB = 1024 ** 2;
/** As the agent's channel has them, and the controller's. */
const KEEPALIVE_MS = { agent: 8_000, controller: 30_000, user: 30_000 };
const STARTS_MS = { server: 300, controller: 300, agent: 400 };

const schema = loadSchema();
const rules = fieldRules(schema);

/** One host with its agent. */
export type Place = { host: SimHost; files: HostFiles; nodeUid: string; nodeRecordUid: string; agent: Life | undefined; drivers: SimDrivers | undefined };

export type FleetOptions = { nodes: readonly string[]; /** How many stand in line. */ controllers: number; listener: HostListener; /** How fast a program's clock runs. */ rate: (name: string) => number };

export class Fleet {
  readonly world: World;
  readonly network: Network;
  readonly durable: DurableStore;
  readonly failpoints: Failpoints;
  readonly places = new Map<string, Place>();
  readonly links = new Set<string>();
  readonly users: Connection;
  readonly watcher: Connection;
  disk: Disk = SOUND;
  calm = false;
  server: Life | undefined;
  readonly controllers = new Map<string, Life>();
  readonly leadership: Leadership;
  readonly #options: FleetOptions;
  #lives = 0;

  constructor(world: World, options: FleetOptions) {
    this.world = world;
    this.#options = options;
    this.durable = new DurableStore(world);
    this.network = new Network(world);
    this.leadership = new Leadership(world, (name) => this.network.heardMs(name));
    this.failpoints = new Failpoints((life, point) => this.#struck(life, point));
    const fabric = {
      host: (name: string) => this.places.get(name)?.host,
      isLinkCut: (a: string, b: string) => this.links.has(linkOf(a, b)),
      isCalm: () => this.calm,
    };
    for (const name of options.nodes) {
      const host = new SimHost(world, name, { fabric, listener: options.listener });
      const nodeUid = world.chance(`node/${name}`).uuid();
      this.places.set(name, { host, files: new HostFiles(), nodeUid, nodeRecordUid: "", agent: undefined, drivers: undefined });
    }
    this.watcher = simConnection({ network: this.network, life: this.#life("watcher"), listener: "unix", peer: { kind: "none" }, keepaliveMs: KEEPALIVE_MS.user });
    this.users = simConnection({ network: this.network, life: this.#life("user"), listener: "unix", peer: { kind: "none" }, keepaliveMs: KEEPALIVE_MS.user });
  }

  startServer(): void {
    if (this.server && !this.server.dead) return;
    const life = (this.server = this.#life("api-server"));
    this.world.after(STARTS_MS.server, () => life.enter(() => void this.#serve(life).catch((error: unknown) => this.#fell(life, error))));
  }

  /** The one that decides, or would be the first to. */
  get controller(): Life | undefined {
    return this.leadership.leader ?? this.controllers.get(CONTROLLERS[0]!);
  }

  startControllers(): void {
    for (const name of CONTROLLERS.slice(0, this.#options.controllers)) this.#startController(name);
  }

  #startController(name: string): void {
    if (this.controllers.get(name)?.dead === false) return;
    const life = this.#life(name);
    this.controllers.set(name, life);
    const connection = simConnection({ network: this.network, life, listener: "public", peer: { kind: "controller" }, keepaliveMs: KEEPALIVE_MS.controller, passes: this.#passes(life, "controller") });
    const config = { migrations: { fleet: 5, outboundPerNode: 2, inboundPerNode: 2, defaults: MIGRATION_DEFAULTS, budgets: MIGRATION_BUDGETS } };
    const { clock, random, log } = life;
    this.world.after(STARTS_MS.controller, () =>
      life.enter(() => void runController({ config, connection, name, clock, random, log, signal: new AbortController().signal }).then(
        () => this.#fell(life, new Error("It ended by itself")),
        (error: unknown) => this.#fell(life, error),
      )));
  }

  startAgent(name: string): void {
    const place = this.places.get(name)!;
    if ((place.agent && !place.agent.dead) || !place.host.up) return;
    const life = (place.agent = this.#life(`agent/${name}`));
    this.world.after(STARTS_MS.agent, () => life.enter(() => this.#runAgent(name, place, life)));
  }

  /** A process ends at once; what it had open breaks. */
  kill(life: Life | undefined): void {
    if (!life || life.dead) return;
    this.world.note(`${life.name} dies`);
    life.kill();
    this.network.reset(life.name);
  }

  freeze(life: Life | undefined, forMs: number): void {
    if (!life || !life.running) return;
    this.world.note(`${life.name} lies still for ${Math.round(forMs)} ms`);
    life.freeze();
    this.network.stilled(life.name);
    this.world.after(forMs, () => {
      this.world.note(`${life.name} goes on`);
      life.thaw();
    });
  }

  powerOff(name: string): void {
    const place = this.places.get(name)!;
    if (!place.host.up) return;
    place.host.powerOff();
    this.kill(place.agent);
  }

  powerOn(name: string): void {
    this.places.get(name)!.host.powerOn();
    this.startAgent(name);
  }

  /** Whatever is down comes up again. */
  restoreAll(): void {
    for (const [name, { host }] of this.places) {
      if (!host.up) continue;
      host.daemonHangs = false;
      host.startDaemon();
      this.startAgent(name);
    }
    this.startServer();
    this.startControllers();
  }

  #passes(life: Life, program: string): (side: "before" | "after") => boolean {
    return (side) => this.failpoints.passes(life, `${program}.call.${side}`);
  }

  #life(name: string): Life {
    this.#lives += 1;
    return new Life(this.world, name, { rate: this.#options.rate(name), incarnation: this.#lives, said: (...about) => this.leadership.said(...about) });
  }

  /** Who dies at a failpoint is started again by its service manager. */
  #struck(life: Life, point: string): void {
    this.world.note(`${life.name} is struck at ${point}`);
    this.kill(life);
    this.world.after(1_500, () => this.restoreAll());
  }

  #fell(life: Life, error: unknown): void {
    if (life.dead) return;
    // A server that cannot read its records at its start gives up, and is started again.
    this.world.note(`${life.name} falls: ${String(error)}`);
    if (life.name !== "api-server") this.world.fail("STAYS_UP", `${life.name} ended: ${error instanceof Error ? error.stack : String(error)}`);
    this.kill(life);
    this.world.after(1_500, () => this.restoreAll());
  }

  async #serve(life: Life): Promise<void> {
    const { clock, random, log } = life;
    const store = new SimStore({ life, durable: this.durable, disk: () => this.disk, failpoints: this.failpoints, chance: this.world.chance(`store/${this.#lives}`) });
    const { parts, server } = await assemble({ store, clock, random, log, leaseMs: LEASE_MS, schema, rules });
    const budgets = new CallBudgets(clock, BUDGETS);
    const connections: Wiring["connections"] = { identifying: (callerOf) => async (context) => callerOf(context), requireRoom: () => undefined, cut: () => undefined };
    const { callerOf } = new Authenticator({ config: { oidc: [] }, rights: parts.rights, clock, log });
    const open = { services: publicServices(parts), messageBytesMax: MIB, described: false, address: "" };
    // Nobody's certificate ends within a seed.
    const certificates = undefined as never;
    const listeners: (Listener & { name: ListenerName })[] = [
      { ...open, name: "unix", callerOf: localCaller },
      { ...open, name: "public", callerOf },
      { ...open, name: "agents", services: agentServices({ ...parts, certificates }), callerOf: agentCaller(parts.identities) },
    ];
    const servers = new Map(listeners.map((listener) => {
      const bare = new SimServer((path, error) => life.dead || this.world.fail("ERRORS_HAVE_CODES", `${path} threw ${String(error)}`));
      wire(bare.asServer, listener, { ...server, connections, budgets });
      return [listener.name, bare] as const;
    }));
    this.world.note("the API server serves");
    this.network.serve({ life, servers });
  }

  #runAgent(name: string, place: Place, life: Life): void {
    const { host, files, nodeUid, nodeRecordUid } = place;
    const { failpoints, network } = this;
    const { clock, random, log } = life;
    const home = { host, files, life, failpoints };
    const drivers = (place.drivers = new SimDrivers(home));
    const driver = new Driver({ transport: drivers, clock, random, report: (fault) => log.warn({ fault }, "the libvirt driver") });
    const hypervisor = new LibvirtHypervisor({ uri: "qemu:///system", driver, ownsDriver: true });
    const storage = storageOn(home);
    const passes = this.#passes(life, "node-agent");
    const dial = () => simConnection({ network, life, listener: "agents", peer: { kind: "node", uid: nodeRecordUid, incarnation: 0 }, keepaliveMs: KEEPALIVE_MS.agent, passes });
    const agent = new Agent({
      nodeUid, dial, storage, clock, random, log,
      boot: { kernelBootId: this.world.chance(`boot/${name}/${host.boots}`).uuid(), pid1StartTime: "1" } as never,
      calls: dial(), tunnels: dial(),
      host: new Host({ hypervisor, storage, allowEmulation: true, checkKvm: async () => ({ state: KvmState.NOT_RUN, message: "no /dev/kvm" }) }),
      doors: () => doorsOn(home),
      certificates: { look: () => undefined, install: async () => undefined, run: () => new Promise(() => undefined) },
      journal: journalOn(home), endings: endingsOn(home), store: storeOn(home),
      settings: { reservedMemoryBytes: 0, allowEmulation: true, migrationBlocker: "", migrationAddress: `${name}.example`, migrationAuthorities: ["the fleet's"] },
      bridges: async () => [],
      hostname: () => name,
      memoryUri: `tcp://${name}`,
      boundLog: async () => false,
      probe: async () => AddressProbe.create({ outcome: ProbeOutcome.ANSWERED }),
    });
    agent.run(new AbortController().signal).then(
      () => this.#fell(life, new Error("It ended by itself")),
      (error: unknown) => this.#fell(life, error),
    );
  }
}

export const linkOf = (a: string, b: string): string => [a, b].sort().join("-");
