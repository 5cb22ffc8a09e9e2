/** Carries faults out. Each answers whether it found something to harm, so that what is counted really happened. */
import { FOUL } from "../network/network.ts";
import type { Harm, Party } from "../plan/cells.ts";
import type { NodeName } from "../plan/plan.ts";
import { CONTROLLERS, linkOf } from "../programs/fleet.ts";
import type { Fleet, Place } from "../programs/fleet.ts";
import { SOUND } from "../store/sim-store.ts";

const BACK_MS = 1_500;
/** Of all that is said to one program, while it hears late: more than leaders' leases are apart, less than one is long. */
const LATE_MS: [number, number] = [2_400, 2_900];
/** A host's supervisor brings the agent and libvirtd back sooner than a person brings power. */
const DAEMON_BACK_MS_MAX = 12_000;

export type Hit = { harm: Harm; forMs: number; node: NodeName; other: NodeName; /** The machine's domain, if it is about one. */ uuid: string };

export class Harms {
  readonly #fleet: Fleet;
  #over = false;

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
  }

  /** From here on nothing is harmed any more, and what was is mended. */
  end(): void {
    const { network, links, places } = this.#fleet;
    this.#over = true;
    this.#fleet.failpoints.disarmAll();
    this.#fleet.disk = SOUND;
    this.#fleet.calm = true;
    links.clear();
    for (const name of [...CONTROLLERS, ...[...places.keys()].map((node) => `agent/${node}`)]) {
      network.heal(name, "api-server");
      network.heal("api-server", name);
      network.slow("api-server", name, 0);
    }
    this.#fleet.restoreAll();
  }

  /** True when it was done to something that was there. */
  strike(party: Party, hit: Hit): boolean {
    if (this.#over) return false;
    const place = this.#fleet.places.get(hit.node)!;
    switch (party) {
      case "controller": return this.#program(hit, { name: this.#fleet.controller?.name ?? CONTROLLERS[0]!, life: this.#fleet.controller });
      case "api-server": return hit.harm.startsWith("disk-") ? this.#disk(hit) : this.#program(hit, { name: "api-server", life: this.#fleet.server });
      case "source-agent":
      case "target-agent": return this.#program(hit, { name: `agent/${hit.node}`, life: place.agent });
      case "source-driver":
      case "target-driver": return this.#driver(hit, place);
      case "source-libvirtd":
      case "target-libvirtd": return this.#libvirtd(hit, place);
      case "source-qemu":
      case "target-qemu": return this.#qemu(hit, place);
      case "source-host":
      case "target-host": return this.#power(hit, place);
      case "link": return this.#link(hit);
      case "network": return this.#foul(hit);
    }
  }

  #later(ms: number, run: () => void): void {
    this.#fleet.world.after(ms, () => {
      if (!this.#over) run();
    });
  }

  #program({ harm, forMs }: Hit, { name, life }: { name: string; life: Fleet["server"] }): boolean {
    const fleet = this.#fleet;
    if (harm === "cut" || harm === "cut-to" || harm === "cut-from") {
      if (harm !== "cut-from") fleet.network.cut(name, "api-server");
      if (harm !== "cut-to") fleet.network.cut("api-server", name);
      this.#later(forMs, () => {
        fleet.network.heal(name, "api-server");
        fleet.network.heal("api-server", name);
      });
      return true;
    }
    if (harm === "late-from") {
      fleet.network.slow("api-server", name, fleet.world.chance(`late/${fleet.world.nowMs}`).between(...LATE_MS));
      this.#later(forMs, () => fleet.network.slow("api-server", name, 0));
      return true;
    }
    if (!life || life.dead) return false;
    if (harm === "reset") fleet.network.reset(name);
    else if (harm === "pause") fleet.freeze(life, forMs);
    else {
      fleet.kill(life);
      this.#later(Math.min(forMs, 8_000), () => fleet.restoreAll());
    }
    return true;
  }

  #disk({ harm, forMs }: Hit): boolean {
    const fleet = this.#fleet;
    fleet.disk = harm === "disk-full" ? { ...SOUND, full: true } : harm === "disk-fails" ? { ...SOUND, failing: true } : { ...SOUND, commitMs: [50, 700] };
    this.#later(Math.min(forMs, 15_000), () => (fleet.disk = SOUND));
    return true;
  }

  #driver({ harm, forMs }: Hit, { agent, drivers }: Place): boolean {
    if (!agent || agent.dead || !drivers?.current) return false;
    if (harm === "pause") drivers.current.hang(forMs);
    else drivers.current.die();
    return true;
  }

  #libvirtd({ harm, forMs }: Hit, { host }: Place): boolean {
    if (!host.up || !host.daemonUp) return false;
    const backMs = Math.min(forMs, DAEMON_BACK_MS_MAX);
    if (harm === "pause") {
      host.daemonHangs = true;
      this.#later(backMs, () => (host.daemonHangs = false));
    } else {
      host.killDaemon();
      this.#later(backMs, () => host.startDaemon());
    }
    return true;
  }

  #qemu({ uuid }: Hit, { host }: Place): boolean {
    const guest = host.qemus.get(uuid) ?? [...host.qemus.values()].find(({ name }) => uuid === "" && !name.startsWith("foreign"));
    if (!guest || !host.up) return false;
    host.stop(guest.uuid, "failed");
    return true;
  }

  #power({ forMs, node }: Hit, { host }: Place): boolean {
    // Somewhere has to be left to go.
    if (!host.up || [...this.#fleet.places.values()].filter((place) => place.host.up).length < 3) return false;
    this.#fleet.powerOff(node);
    this.#later(BACK_MS + 2 * forMs, () => this.#fleet.powerOn(node));
    return true;
  }

  #link({ node, other, forMs }: Hit): boolean {
    const link = linkOf(node, other);
    this.#fleet.links.add(link);
    this.#later(forMs, () => this.#fleet.links.delete(link));
    return true;
  }

  #foul({ forMs }: Hit): boolean {
    const { network } = this.#fleet;
    const before = network.weather;
    if (before === FOUL) return false;
    network.weather = FOUL;
    this.#fleet.world.after(forMs, () => (network.weather = before));
    return true;
  }
}
