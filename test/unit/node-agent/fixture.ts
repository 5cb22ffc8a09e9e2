/** One agent's machines over a libvirt and a control plane in memory, on real time. */
import { AssignmentRole } from "../../../gen/drover/agent/v1/agent.ts";
import type { LookupMachineResponse, ReportRequest } from "../../../gen/drover/agent/v1/agent.ts";
import { BootIdentity, ObjectMeta, OwnerReference } from "../../../gen/drover/v1/meta.ts";
import { DomainSpec, FirmwareSpec, VirtualMachineInstanceSpec } from "../../../gen/drover/v1/machine.ts";
import {
  DomainState, OwnerClaim, Phase, VirtualMachineInstance, VirtualMachineInstanceStatus,
} from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { systemClock } from "../../../lib/clock.ts";
import { silentLog } from "../../../lib/log.ts";
import { systemRandom } from "../../../lib/random.ts";
import { Refused } from "../../../node-agent/control-plane.ts";
import type { ControlPlane } from "../../../node-agent/control-plane.ts";
import { domainName, machineIdentity } from "../../../node-agent/domain/identity.ts";
import { instanceMetadata } from "../../../node-agent/domain/metadata.ts";
import type { Doors, OpenMigration } from "../../../node-agent/door/doors.ts";
import type { EventJournal } from "../../../node-agent/event-journal.ts";
import type { Endings } from "../../../node-agent/machine/endings.ts";
import { Machines } from "../../../node-agent/machine/machines.ts";
import type { Ending } from "../../../node-agent/machine/observed.ts";
import { Outbox } from "../../../node-agent/outbox.ts";
import type { Storage } from "../../../node-agent/storage/storage.ts";
import { FakeHypervisor } from "./fake-hypervisor.ts";
import { noCopies } from "../../no-copies.ts";

export const UUID = "5a6b0b2e-0e0c-4f5e-9d3a-0a4b8c1d2e3f";
export const BOOT = BootIdentity.create({ kernelBootId: "boot-1", pid1StartTime: "1" });

export type InstanceOptions = {
  uid?: string;
  node?: string;
  epoch?: number;
  phase?: Phase;
  claimed?: boolean | BootIdentity;
  reachedRunning?: boolean;
  said?: DomainState;
  deleting?: number;
  version?: string;
  status?: Partial<VirtualMachineInstanceStatus>;
};

export function instance(options: InstanceOptions = {}): VirtualMachineInstance {
  const { uid = "vmi-1", node = "a", epoch = 1, phase = Phase.SCHEDULED, claimed = false, reachedRunning = false, said, deleting, version = "i.1" } = options;
  const boot = typeof claimed === "object" ? claimed : BOOT;
  return VirtualMachineInstance.create({
    metadata: ObjectMeta.create({
      name: "web", namespace: "default", uid, resourceVersion: version,
      ownerReferences: [OwnerReference.create({ kind: "VirtualMachine", name: "web", uid: "vm-1" })],
      ...(deleting === undefined ? {} : { deletionTimestamp: new Date(0), deletionGracePeriodSeconds: deleting }),
    }),
    spec: VirtualMachineInstanceSpec.create({ domain: DomainSpec.create({ firmware: FirmwareSpec.create({ uuid: UUID }) }) }),
    status: VirtualMachineInstanceStatus.create({
      phase, nodeName: node, epoch, lastGrantedEpoch: epoch, reachedRunning,
      claim: claimed ? OwnerClaim.create({ epoch, nodeName: node, boot, agentInstance: "other" }) : undefined,
      ...(said === undefined ? {} : { ownerReport: { nodeName: node, epoch, generation: 1, agentInstance: "other", state: said, reason: "", message: "", observed: undefined, pausedReason: "" } }),
      ...options.status,
    }),
  });
}

export function domainText(of: VirtualMachineInstance): string {
  const identity = machineIdentity(of);
  const { namespace, vm, vmUid, vmiUid, domainUuid } = identity;
  const metadata = instanceMetadata({ namespace, vm, vmUid, vmiUid, epoch: of.status!.epoch, generation: 1 });
  return `<domain type='qemu'>\n  <name>${domainName(identity)}</name>\n  <uuid>${domainUuid}</uuid>\n  <metadata>\n    ${metadata}\n  </metadata>\n</domain>`;
}

/** Of a run whose guest has been seen running. */
export const running = (options: InstanceOptions = {}): VirtualMachineInstance =>
  instance({ claimed: true, phase: Phase.RUNNING, reachedRunning: true, said: DomainState.RUNNING, ...options });

/** A libvirt that has the guest of the record. */
export function withGuest(of = running()): FakeHypervisor {
  const hypervisor = new FakeHypervisor();
  hypervisor.put({ uuid: UUID, name: "default_web_vm1", metadata: domainText(of).match(/<drover.*>/)![0], xml: domainText(of) });
  return hypervisor;
}

export class FakeControlPlane implements ControlPlane {
  record: VirtualMachineInstance | undefined;
  readonly reports: ReportRequest[] = [];
  readonly claims: number[] = [];
  lookup: Partial<LookupMachineResponse> = {};
  lookups = 0;
  down = false;
  refuse: string | undefined;
  /** After a change of the record. */
  changed: (record: VirtualMachineInstance) => void = () => undefined;
  #version = 1;

  async claim({ epoch, boot, agentInstance }: Parameters<ControlPlane["claim"]>[0]): Promise<VirtualMachineInstance> {
    this.#answer();
    this.claims.push(epoch);
    return this.commit({ claim: OwnerClaim.create({ epoch, nodeName: "a", boot, agentInstance }) });
  }

  async report(request: ReportRequest): Promise<void> {
    this.#answer();
    this.reports.push(request);
    if (request.part?.$case !== "owner" || !this.record) return;
    this.commit({ ownerReport: request.part.value, reachedRunning: this.record.status!.reachedRunning || request.part.value.state === DomainState.RUNNING });
  }

  async lookUp(): Promise<LookupMachineResponse> {
    this.#answer();
    this.lookups += 1;
    return { instance: undefined, tombstone: false, lastEpoch: 0, storeId: "", volumes: [], ...this.lookup };
  }

  commit(status: Partial<VirtualMachineInstanceStatus>, metadata: Partial<ObjectMeta> = {}): VirtualMachineInstance {
    const record = this.record!;
    this.#version += 1;
    this.record = {
      ...record,
      metadata: { ...record.metadata!, ...metadata, resourceVersion: `i.${this.#version}` },
      status: { ...record.status!, ...status },
    };
    this.changed(this.record);
    return this.record;
  }

  /** Reasons of the owner's reports, in order. */
  words(): string[] {
    return this.reports.flatMap(({ part }) => (part?.$case === "owner" ? [`${names[part.value.state]}${part.value.state === DomainState.GONE ? `/${part.value.reason}` : ""}`] : []));
  }

  #answer(): void {
    if (this.down) throw new Error("unreachable");
    if (this.refuse) throw new Refused(this.refuse, "no");
  }
}

const names = Object.fromEntries(Object.entries(DomainState).map(([name, value]) => [value, name]));

export function memoryEndings(kept = new Map<string, Ending>()): Endings {
  return {
    read: (vmiUid) => kept.get(vmiUid),
    write: (ending) => void kept.set(ending.vmiUid, ending),
    remove: (vmiUid) => void kept.delete(vmiUid),
    list: () => [...kept.keys()],
  };
}

export const memoryJournal = (): EventJournal => ({ read: () => [], append: () => undefined, acknowledge: () => undefined });

/** Doors that stand as long as the test. */
export class FakeDoors implements Doors {
  readonly opened: string[] = [];
  readonly closed: string[] = [];
  attended: readonly OpenMigration[] = [];
  /** What happens while a door is being opened. */
  onOpen: () => void = () => undefined;
  openDoor({ uid }: { uid: string }): Promise<string> {
    this.onOpen();
    this.opened.push(`door ${uid}`);
    return Promise.resolve("10.0.0.2:49000");
  }
  openPassage({ uid }: { uid: string }): Promise<{ uri: string; tlsDestination: string }> {
    this.opened.push(`passage ${uid}`);
    return Promise.resolve({ uri: "qemu+unix:///system?socket=/passage", tlsDestination: "b.migration" });
  }
  close(uid: string): void {
    this.closed.push(uid);
  }
  stop(): void {
    this.attended = [];
  }
  attend(migrations: readonly OpenMigration[]): void {
    this.attended = migrations;
  }
}

export class Agent implements Disposable {
  readonly doors = new FakeDoors();
  readonly hypervisor: FakeHypervisor;
  readonly controlPlane: FakeControlPlane;
  readonly machines: Machines;
  readonly removed: string[] = [];
  readonly endings: Endings;
  readonly #stopping = new AbortController();
  readonly #outbox: Outbox;

  constructor({ hypervisor = new FakeHypervisor(), controlPlane = new FakeControlPlane(), endings = memoryEndings(), blueprint = (of: VirtualMachineInstance) => Promise.resolve(domainText(of)) }: {
    hypervisor?: FakeHypervisor; controlPlane?: FakeControlPlane; endings?: Endings; blueprint?: (of: VirtualMachineInstance) => Promise<string>;
  } = {}) {
    this.hypervisor = hypervisor;
    this.controlPlane = controlPlane;
    this.endings = endings;
    const agentInstance = systemRandom.uuid();
    const common = { clock: systemClock, random: systemRandom, log: silentLog };
    this.#outbox = new Outbox({ controlPlane, journal: memoryJournal(), agentInstance, nodeName: () => "a", ...common });
    const storage: Partial<Storage> = {
      machines: async () => [],
      inspect: async () => undefined,
      copies: noCopies,
      removeMachineFiles: async (vmiUid) => void this.removed.push(vmiUid),
      prepareIncoming: async () => ({ paths: { directory: "", consoleSocket: "", consoleLog: "", seedIso: "", nvram: "" }, disks: {} }),
    };
    this.machines = new Machines({
      self: () => ({ nodeName: "a", boot: BOOT, agentInstance }),
      hypervisor, controlPlane, endings, outbox: this.#outbox, blueprint,
      storage: storage as Storage,
      incoming: blueprint,
      doors: this.doors,
      memoryUri: "tcp://a",
      ...common,
    });
    controlPlane.changed = (record) => this.assign(record);
    void this.machines.consume(hypervisor.events(this.#stopping.signal));
    hypervisor.emit({ type: "connected", generation: 1 });
  }

  assign(record: VirtualMachineInstance, role: AssignmentRole = AssignmentRole.OWNER): void {
    this.controlPlane.record = record;
    this.machines.assign({ instance: record, role });
  }

  /** A whole new session in which these are assigned. */
  session(...records: VirtualMachineInstance[]): void {
    this.machines.beginSession(false);
    for (const record of records) this.assign(record);
    this.machines.synced();
  }

  [Symbol.dispose](): void {
    this.#stopping.abort();
    this.machines.close();
    this.#outbox.close();
  }
}

/** Waits until it holds; throws when it does not within two seconds. */
export async function until(holds: () => boolean, what = "the expected state"): Promise<void> {
  for (let tries = 0; tries < 400; tries += 1) {
    if (holds()) return;
    await new Promise<void>((resolve) => systemClock.after(5, resolve));
  }
  throw new Error(`Never reached ${what}`);
}

export const settle = (ms = 60): Promise<void> => new Promise((resolve) => systemClock.after(ms, resolve));
