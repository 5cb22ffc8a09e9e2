/** A lab host by the driver alone, without a server, a controller or an agent above it. */
import { join } from "node:path";
import { systemClock } from "../../lib/clock.ts";
import { systemRandom } from "../../lib/random.ts";
import { libvirtHypervisor } from "../../node-agent/libvirt/libvirt-hypervisor.ts";
import type { LibvirtHypervisor } from "../../node-agent/libvirt/libvirt-hypervisor.ts";
import { RecordedEvents } from "../contract/hypervisor-events.ts";
import { GUEST_TICK } from "./guest.ts";
import type { LabHost } from "./host.ts";
import { linesOf, waitFor } from "./process.ts";

const CONNECT_TIMEOUT_MS = 20_000;
const BOOT_TIMEOUT_MS = 40_000;
const STATE_TIMEOUT_MS = 20_000;

export type Tick = { count: number; boot: string };

export class DriverHost implements AsyncDisposable {
  readonly lab: LabHost;
  readonly hypervisor: LibvirtHypervisor;
  readonly events: RecordedEvents;
  /** What the driver reports and must never happen, such as a leaked handle. */
  readonly faults: readonly string[];

  private constructor(lab: LabHost) {
    const faults: string[] = [];
    this.lab = lab;
    this.faults = faults;
    this.hypervisor = libvirtHypervisor({ uri: lab.uri, clock: systemClock, random: systemRandom, report: (fault) => faults.push(fault) });
    this.events = new RecordedEvents(this.hypervisor);
  }

  static async connect(lab: LabHost): Promise<DriverHost> {
    const host = new DriverHost(lab);
    await host.hypervisor.start(AbortSignal.timeout(CONNECT_TIMEOUT_MS));
    return host;
  }

  /** Where the console of `name` is kept on each host, apart from the other hosts'. */
  consoleLog(name: string): string {
    return join(this.lab.localMount, `${name}.log`);
  }

  /** The newest count on this host's console, once there is one. */
  async tick(name: string, accept: (tick: Tick) => boolean = () => true): Promise<Tick> {
    const log = join(this.lab.localDirectory, `${name}.log`);
    return waitFor(`a count in ${log}`, () => {
      const [, count, , boot] = linesOf(log).map((line) => GUEST_TICK.exec(line)).findLast((match) => match !== null) ?? [];
      const tick = { count: Number(count), boot: boot ?? "" };
      return boot !== undefined && accept(tick) ? tick : undefined;
    }, { timeoutMs: BOOT_TIMEOUT_MS });
  }

  /** Waits until the domain stands as `state/reason` says, or is `absent`. */
  async stands(uuid: string, wanted: string): Promise<void> {
    let seen = "";
    const asWanted = async () => {
      const domain = await this.hypervisor.get(uuid);
      seen = domain === undefined ? "absent" : `${domain.state}/${domain.reason}`;
      return seen === wanted || undefined;
    };
    await waitFor(`the domain to be ${wanted}`, asWanted, { timeoutMs: STATE_TIMEOUT_MS }).catch((cause: unknown) => {
      throw new Error(`The domain on ${this.lab.name} is ${seen} and not ${wanted}`, { cause });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hypervisor.close();
    await this.events.end();
  }
}
