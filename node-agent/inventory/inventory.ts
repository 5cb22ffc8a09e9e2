/** Looks at the host from time to time. What libvirt once told is kept while libvirt is away, and said to be old. */
import { hostname as kernelHostname } from "node:os";
import type { NodeReport } from "../../gen/drover/v1/node.ts";
import type { HostInventory, Hypervisor } from "../libvirt/hypervisor.ts";
import type { Storage } from "../storage/storage.ts";
import { hostBridges } from "./bridges.ts";
import type { KvmCheck } from "./canary.ts";
import { nodeReport } from "./node-report.ts";
import type { NodeSettings } from "./node-report.ts";

export type InventorySources = {
  hypervisor: Pick<Hypervisor, "inventory">;
  storage: Pick<Storage, "pools">;
  settings: NodeSettings;
  /** The canary's verdict as it is known by now. */
  kvm: () => KvmCheck;
  /** Names of domains that the agent leaves alone. */
  foreignDomains: () => readonly string[];
  bridges?: () => Promise<string[]>;
  hostname?: () => string;
};

export class Inventory {
  readonly #sources: InventorySources;
  #host: HostInventory | undefined;

  constructor(sources: InventorySources) {
    this.#sources = sources;
  }

  /** Waits for libvirt at most as long as its adapter lets a call wait; never fails because of it. */
  async collect(): Promise<NodeReport> {
    const { storage, settings, kvm, foreignDomains, bridges = hostBridges, hostname = kernelHostname } = this.#sources;
    const [hypervisorFault, pools, bridgeNames] = await Promise.all([this.#ask(), storage.pools(), bridges()]);
    return nodeReport(
      { host: this.#host, hypervisorFault, hostname: hostname(), kvm: kvm(), pools, bridges: bridgeNames, foreignDomains: foreignDomains() },
      settings,
    );
  }

  async #ask(): Promise<string | undefined> {
    try {
      this.#host = await this.#sources.hypervisor.inventory();
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
}
