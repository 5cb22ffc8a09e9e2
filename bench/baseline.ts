/**
 * libvirt alone: the same domain by the same binding on the same hosts, with nothing of Drover about it. The copy has
 * names and files of its own, so that the agents take it for somebody else's and leave it alone.
 */
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../lib/clock.ts";
import { systemRandom } from "../lib/random.ts";
import type { HypervisorEvent } from "../node-agent/libvirt/hypervisor.ts";
import { libvirtHypervisor } from "../node-agent/libvirt/libvirt-hypervisor.ts";
import type { LibvirtHypervisor } from "../node-agent/libvirt/libvirt-hypervisor.ts";
import type { LabHost } from "../test/lab/host.ts";

const CONNECT_TIMEOUT_MS = 20_000;

type Listener = (event: HypervisorEvent) => void;

/** One host's libvirt by a driver child of the benchmark's own, outside the host, over the host's unix socket. */
export class DirectHost implements AsyncDisposable {
  readonly host: LabHost;
  readonly hypervisor: LibvirtHypervisor;
  readonly #listeners = new Set<Listener>();
  readonly #stop = new AbortController();

  private constructor(host: LabHost) {
    this.host = host;
    const report = (fault: string) => process.stderr.write(`libvirt driver of ${host.name}: ${fault}\n`);
    this.hypervisor = libvirtHypervisor({ uri: host.uri, clock: systemClock, random: systemRandom, report });
    void this.#listen();
  }

  static async open(host: LabHost): Promise<DirectHost> {
    const direct = new DirectHost(host);
    const limit = new AbortController();
    const timer = systemClock.after(CONNECT_TIMEOUT_MS, () => limit.abort(new Error(`libvirt on ${host.name} does not answer`)));
    await direct.hypervisor.start(limit.signal);
    timer.cancel();
    return direct;
  }

  /** The first event from now on that holds. */
  next(holds: (event: HypervisorEvent) => boolean): Promise<{ atMs: number; event: HypervisorEvent }> {
    return new Promise((resolve) => {
      const listener: Listener = (event) => {
        if (!holds(event)) return;
        this.#listeners.delete(listener);
        resolve({ atMs: systemClock.monotonicMs(), event });
      };
      this.#listeners.add(listener);
    });
  }

  async start(xml: string): Promise<{ tookMs: number; uuid: string }> {
    const beganMs = systemClock.monotonicMs();
    const uuid = await this.hypervisor.define(xml);
    await this.hypervisor.create(uuid);
    return { tookMs: systemClock.monotonicMs() - beganMs, uuid };
  }

  /** One virsh for all the commands, as an operator would type them. */
  async virsh(...commands: string[]): Promise<number> {
    const beganMs = systemClock.monotonicMs();
    await this.host.virsh(commands.join("; "));
    return systemClock.monotonicMs() - beganMs;
  }

  async remove(uuid: string): Promise<void> {
    await this.hypervisor.destroy(uuid).catch(() => undefined);
    await this.hypervisor.undefine(uuid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error("The host is closed"));
    await this.hypervisor.close();
  }

  async #listen(): Promise<void> {
    try {
      for await (const event of this.hypervisor.events(this.#stop.signal)) for (const listener of this.#listeners) listener(event);
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
    }
  }
}

/** A domain of Drover's as somebody else's, with a copy of its disk, to be made on any of the hosts. */
export function copyOf(xml: string, { hosts, name }: { hosts: readonly LabHost[]; name: string }): { xml: string; uuid: string } {
  const uuid = systemRandom.uuid();
  const local = hosts[0]!.localMount;
  for (const host of hosts) mkdirSync(join(host.localDirectory, "bench", name), { recursive: true });
  const disk = new RegExp(`<source file='(${escaped(hosts[0]!.poolDirectory)}/[^']+)'`).exec(xml)?.[1];
  if (disk !== undefined) copyFileSync(disk, `${disk}.${name}`);
  const copy = xml
    .replace(/<metadata>[^]*?<\/metadata>/, "")
    .replace(/<name>[^<]*<\/name>/, `<name>${name}</name>`)
    .replace(/<uuid>[^<]*<\/uuid>/, `<uuid>${uuid}</uuid>`)
    .replaceAll(new RegExp(`${escaped(join(local, "drover/machines"))}/[^/']+`, "g"), join(local, "bench", name));
  return { uuid, xml: disk === undefined ? copy : copy.replaceAll(`'${disk}'`, `'${disk}.${name}'`) };
}

const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
