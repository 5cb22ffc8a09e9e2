/** What this host is to its machines: its libvirt, its accelerator as far as it is known, and how a domain is made for it. */
import { KvmState } from "../gen/drover/v1/node.ts";
import type { VirtualMachineInstance } from "../gen/drover/v1/virtual_machine_instance.ts";
import { domainXml } from "./domain/domain-xml.ts";
import type { Accelerator, PreparedMachine } from "./domain/parts.ts";
import { chooseAccelerator } from "./inventory/accelerator.ts";
import type { KvmCheck } from "./inventory/canary.ts";
import type { HostInventory, Hypervisor } from "./libvirt/hypervisor.ts";
import type { Storage } from "./storage/storage.ts";

export type HostOptions = {
  hypervisor: Hypervisor;
  storage: Storage;
  /** Guests may run without KVM. */
  allowEmulation: boolean;
  /** Whether KVM works, with the emulator that libvirt uses. */
  checkKvm: (facts: Pick<HostInventory, "emulator" | "hypervisorVersion">) => Promise<KvmCheck>;
};

class NoAccelerator extends Error {
  override name = "NoAccelerator";
}

export class Host {
  readonly hypervisor: Hypervisor;
  readonly #options: HostOptions;
  #kvm: KvmCheck = { state: KvmState.NOT_RUN, message: "the check has not run yet" };
  #inventory: HostInventory | undefined;

  constructor(options: HostOptions) {
    this.#options = options;
    this.hypervisor = options.hypervisor;
  }

  get kvm(): KvmCheck {
    return this.#kvm;
  }

  /** Which CPU models there are depends on what runs them. */
  readonly inventory = (): Promise<HostInventory> => this.hypervisor.inventory(this.#kvm.state === KvmState.VERIFIED ? "kvm" : "qemu");

  /** Whom QEMU runs as; like the agent, where libvirt makes no difference. */
  async qemuOwner(): Promise<{ uid: number; gid: number }> {
    const { qemuOwner } = await this.#facts();
    return qemuOwner ?? { uid: process.getuid!(), gid: process.getgid!() };
  }

  async emulator(): Promise<string> {
    return (await this.#facts()).emulator;
  }

  /** Boots the canary once libvirt has said which emulator it uses. Answers whether something is new. */
  async check(): Promise<boolean> {
    const { emulator, hypervisorVersion } = await this.#facts();
    const before = this.#kvm;
    this.#kvm = await this.#options.checkKvm({ emulator, hypervisorVersion });
    return before.state !== this.#kvm.state || before.message !== this.#kvm.message;
  }

  /** Disks and XML for a machine that starts here. */
  async blueprint(instance: VirtualMachineInstance): Promise<string> {
    this.#accelerator(); // No disk is made for a machine that cannot run.
    const prepared = await this.#options.storage.prepareDisks(instance);
    return this.#domain(instance, { prepared, epoch: instance.status!.epoch });
  }

  /** The XML of a machine that comes here by its open migration. Its disks must be there. */
  async incoming(instance: VirtualMachineInstance): Promise<string> {
    const prepared = await this.#options.storage.prepareIncoming(instance);
    return this.#domain(instance, { prepared, epoch: instance.status!.migration!.targetEpoch });
  }

  async #domain(instance: VirtualMachineInstance, parts: { prepared: PreparedMachine; epoch: number }): Promise<string> {
    const { emulator, architecture } = await this.#facts();
    return domainXml({ instance, ...parts, accelerator: this.#accelerator(), emulator, architecture });
  }

  #accelerator(): Accelerator {
    const accelerator = chooseAccelerator(this.#kvm.state, this.#options.allowEmulation);
    if (!accelerator) throw new NoAccelerator(`KVM does not work here and emulation is not allowed: ${this.#kvm.message}`);
    return accelerator;
  }

  /** libvirt answers this in a tenth of a second or more, so it is kept: an upgrade of QEMU comes with a new connection. */
  async #facts(): Promise<HostInventory> {
    this.#inventory ??= await this.inventory();
    return this.#inventory;
  }

  /** Ask libvirt anew. */
  forgetFacts(): void {
    this.#inventory = undefined;
  }
}
