/**
 * A host as libvirt shows it: QEMUs that run, definitions that stay, one daemon that may die without its guests. Faithful to
 * what was measured on real hosts: the order of events, the codes of errors, what each loss leaves behind.
 */
import { definedDetail, errorCode, resumedDetail, startedDetail } from "../../../node-agent/libvirt/constants.ts";
import { HypervisorError } from "../../../node-agent/libvirt/hypervisor.ts";
import type { Domain, DomainState, HostInventory, LifecycleEvent } from "../../../node-agent/libvirt/hypervisor.ts";
import { droverElement } from "../../../node-agent/libvirt/metadata.ts";
import type { HostEvent } from "../../../node-agent/libvirt/protocol.ts";
import type { Chance } from "../world/chance.ts";
import type { World } from "../world/world.ts";
import type { Transfer } from "./transfer.ts";

export type Qemu = {
  uuid: string;
  name: string;
  xml: string;
  state: DomainState;
  reason: string;
  /** Came or comes by a transfer. */
  incoming: Transfer | undefined;
  /** Out of here. */
  outgoing: Transfer | undefined;
};
type Definition = { uuid: string; name: string; xml: string };

export type HostListener = {
  /** Whatever QEMUs run, and where, may have changed. */
  changed(host: SimHost): void;
  /** Somebody asks to end a domain. */
  condemned(host: SimHost, uuid: string, how: "destroy" | "undefine"): void;
};

/** Where a guest is in its transfer, and which doors are open, is not libvirt's alone to know. */
export type Fabric = {
  host(name: string): SimHost | undefined;
  /** Guests' memory cannot pass between the two. */
  isLinkCut(a: string, b: string): boolean;
  /** Guests have stopped to write faster than they can be copied. */
  isCalm(): boolean;
};

/** VIR_DOMAIN_EVENT_SUSPENDED_IOERROR. */
const SUSPENDED_IOERROR = 2;
const SHUT = { detail: { destroyed: 1, shutdown: 0, crashed: 2, migrated: 3, failed: 5 } } as const;
type StopReason = keyof typeof SHUT.detail;

export class SimHost {
  readonly name: string;
  readonly world: World;
  readonly chance: Chance;
  readonly fabric: Fabric;
  readonly qemus = new Map<string, Qemu>();
  readonly definitions = new Map<string, Definition>();
  readonly #reasons = new Map<string, string>();
  readonly #subscribers = new Set<(event: HostEvent) => void>();
  readonly #listener: HostListener;
  /** Uids of migrations that this host lets in. */
  readonly doors = new Set<string>();
  up = true;
  boots = 1;
  /** Raised at each start of the daemon; what an earlier one was doing is lost. */
  daemon = 1;
  daemonUp = true;
  daemonHangs = false;

  constructor(world: World, name: string, { fabric, listener }: { fabric: Fabric; listener: HostListener }) {
    this.world = world;
    this.name = name;
    this.fabric = fabric;
    this.#listener = listener;
    this.chance = world.chance(`host/${name}`);
  }

  subscribe(hear: (event: HostEvent) => void): () => void {
    this.#subscribers.add(hear);
    return () => this.#subscribers.delete(hear);
  }

  domain(uuid: string): Domain | undefined {
    const qemu = this.qemus.get(uuid);
    const definition = this.definitions.get(uuid);
    const shown = qemu ?? definition;
    if (!shown) return undefined;
    const metadata = droverElement(shown.xml);
    const { name } = shown;
    const state = qemu ? { state: qemu.state, reason: qemu.reason } : { state: "shutoff" as const, reason: this.#reasons.get(uuid) ?? "unknown" };
    return { uuid, name, ...state, persistent: definition !== undefined, ...(metadata === undefined ? {} : { metadata }) };
  }

  domains(): Domain[] {
    return [...new Set([...this.qemus.keys(), ...this.definitions.keys()])].map((uuid) => this.domain(uuid)!);
  }

  define(xml: string): string {
    const uuid = /<uuid>(.*?)<\/uuid>/.exec(xml)?.[1] ?? "";
    const name = /<name>(.*?)<\/name>/.exec(xml)?.[1] ?? "";
    const taken = this.domains().find((domain) => domain.name === name && domain.uuid !== uuid);
    if (taken) throw new HypervisorError("already-exists", `domain '${name}' already exists with uuid ${taken.uuid}`, errorCode.OPERATION_FAILED);
    this.definitions.set(uuid, { uuid, name, xml });
    this.tell({ uuid, name }, "defined", definedDetail.ADDED);
    return uuid;
  }

  create(uuid: string): void {
    const definition = this.definitions.get(uuid);
    if (!definition) throw noDomain(uuid);
    if (this.qemus.has(uuid)) throw new HypervisorError("invalid-state", "domain is already running", errorCode.OPERATION_INVALID);
    const { name, xml } = definition;
    this.qemus.set(uuid, { uuid, name, xml, state: "running", reason: "booted", incoming: undefined, outgoing: undefined });
    this.note(`starts ${name}`);
    this.tell({ uuid, name }, "started", startedDetail.BOOTED);
    this.tell({ uuid, name }, "resumed", resumedDetail.UNPAUSED);
  }

  destroy(uuid: string): void {
    if (!this.domain(uuid)) throw noDomain(uuid);
    if (!this.qemus.has(uuid)) throw new HypervisorError("invalid-state", "domain is not running", errorCode.OPERATION_INVALID);
    this.#listener.condemned(this, uuid, "destroy");
    this.stop(uuid, "destroyed");
  }

  undefine(uuid: string): void {
    const definition = this.definitions.get(uuid);
    if (!definition) throw noDomain(uuid);
    this.#listener.condemned(this, uuid, "undefine");
    this.definitions.delete(uuid);
    this.#reasons.delete(uuid);
    this.tell(definition, "undefined", 0);
  }

  setMetadata(uuid: string, metadata: string): void {
    const [qemu, definition] = [this.qemus.get(uuid), this.definitions.get(uuid)];
    if (!qemu && !definition) throw noDomain(uuid);
    if (qemu) qemu.xml = replaced(qemu.xml, metadata);
    if (definition) definition.xml = replaced(definition.xml, metadata);
    this.#listener.changed(this);
  }

  change(qemu: Qemu, state: DomainState, reason: string): void {
    Object.assign(qemu, { state, reason });
    this.#listener.changed(this);
  }

  /** The process is gone, and libvirt knows why. */
  stop(uuid: string, why: StopReason): void {
    const qemu = this.qemus.get(uuid);
    if (!qemu) return;
    this.qemus.delete(uuid);
    this.note(`${qemu.name} stops: ${why}`);
    if (this.definitions.has(uuid)) this.#reasons.set(uuid, why);
    qemu.outgoing?.lost("source-qemu");
    qemu.incoming?.lost("target-qemu");
    this.#listener.changed(this);
    if (why === "crashed" || why === "shutdown") this.tell(qemu, why === "crashed" ? "crashed" : "shutdown", 0);
    this.tell(qemu, "stopped", SHUT.detail[why]);
  }

  /** A guest whose disk fails is stopped until it answers again. */
  stall(uuid: string): void {
    const qemu = this.qemus.get(uuid);
    if (qemu?.state !== "running" || qemu.outgoing) return;
    this.change(qemu, "paused", "ioerror");
    this.tell(qemu, "suspended", SUSPENDED_IOERROR);
    this.world.after(this.chance.between(100, 2_500), () => {
      if (this.qemus.get(uuid) !== qemu || qemu.reason !== "ioerror") return;
      this.change(qemu, "running", "unpaused");
      this.tell(qemu, "resumed", resumedDetail.UNPAUSED);
    });
  }

  /** Events are lost on whoever is not connected. */
  tell({ uuid, name }: { uuid: string; name: string }, event: LifecycleEvent, detail: number): void {
    this.emit({ type: "lifecycle", uuid, name, event, detail });
    this.#listener.changed(this);
  }

  emit(event: HostEvent): void {

    if (this.daemonUp) for (const hear of Array.from(this.#subscribers)) hear(event);
  }

  /** kill -9 of libvirtd. Guests run on; transfers that it drove do not. */
  killDaemon(): void {
    if (!this.daemonUp) return;
    this.note("libvirtd dies");
    this.daemonUp = false;
    this.daemonHangs = false;
    for (const qemu of Array.from(this.qemus.values())) {
      qemu.outgoing?.lost("source-libvirtd");
      qemu.incoming?.lost("target-libvirtd");
    }
    for (const hear of Array.from(this.#subscribers)) hear({ type: "disconnected", reason: "libvirt closed the connection" });
  }

  startDaemon(): void {
    if (this.daemonUp || !this.up) return;
    this.note("libvirtd starts");
    this.daemon += 1;
    this.daemonUp = true;
    this.#reasons.clear();
    // What was on its way in when the daemon died is nothing that it can go on with.
    for (const qemu of Array.from(this.qemus.values())) if (qemu.state === "paused" && qemu.incoming?.isOver) this.stop(qemu.uuid, "failed");
  }

  /** The plug is pulled. The disk stays, and with it what is defined. */
  powerOff(): void {
    if (!this.up) return;
    this.note("loses power");
    this.up = false;
    this.daemonUp = false;
    this.daemonHangs = false;
    const lost = [...this.qemus.values()];
    this.qemus.clear();
    this.doors.clear();
    this.#reasons.clear();
    for (const { outgoing, incoming } of lost) {
      outgoing?.lost("source-host");
      incoming?.lost("target-host");
    }
    for (const hear of Array.from(this.#subscribers)) hear({ type: "disconnected", reason: "the host is gone" });
    this.#listener.changed(this);
  }

  powerOn(): void {
    if (this.up) return;
    this.up = true;
    this.boots += 1;
    this.note("boots");
    this.startDaemon();
  }

  inventory(): HostInventory {
    return {
      hostname: this.name, architecture: "x86_64", libvirtVersion: "9.0.0", hypervisorVersion: "7.2.0", emulator: "/usr/bin/qemu-system-x86_64",
      cpus: 16, memoryBytes: 64 * 1024 ** 3, domainTypes: ["qemu"], machineTypes: ["pc-q35-7.2"], machineAliases: { q35: "pc-q35-7.2" },
      cpuModels: { domainType: "qemu", usable: ["qemu64"], hostPassthrough: false, maximum: true }, networks: [],
    };
  }

  note(text: string): void {
    this.world.note(`host ${this.name}: ${text}`);
  }
}

const replaced = (xml: string, metadata: string): string => {
  const before = droverElement(xml);
  return before === undefined ? xml : xml.replace(before, () => metadata);
};

export const noDomain = (uuid: string): HypervisorError => new HypervisorError("no-domain", `Domain not found: no domain with matching uuid '${uuid}'`, errorCode.NO_DOMAIN);
