/**
 * What the model of a handoff keeps: the records themselves under a number each, two hosts with their agents and domains,
 * libvirt's one job, and the words on their way.
 */
import { BootIdentity, ObjectMeta, OwnerReference } from "../../../gen/drover/v1/meta.ts";
import { DomainSpec, FirmwareSpec, MemorySpec, PoolDisk, VirtualMachineInstanceSpec, VirtualMachineVolume } from "../../../gen/drover/v1/machine.ts";
import { DomainState, OwnerClaim, OwnerReport, Phase, VirtualMachineInstanceStatus } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import type { Instance, Migration } from "../../../controller/objects.ts";
import { newMemory } from "../../../node-agent/machine/observed.ts";
import type { Memory, Seen } from "../../../node-agent/machine/observed.ts";

export const NODES = ["a", "b"] as const;
export const UUID = "5a6b0b2e-0e0c-4f5e-9d3a-0a4b8c1d2e3f";
export const NOW = new Date(0);

/** A guest stands still at its source for the switch-over, and waits at its target for memory. */
export type Life = "none" | "incoming" | "running" | "paused" | "left" | "crashed";
export type Domain = { life: Life; epoch: number };
export const NO_DOMAIN: Domain = { life: "none", epoch: 0 };

export type Agent = {
  instance: number;
  /** Number of the record that it was last told; undefined before it was told anything. */
  view: number | undefined;
  memory: Memory;
  /** The time between two looks has passed. */
  waited: boolean;
};
/** `cut`: nothing goes to or from it. `behind`: what it is told is not the present. */
export type Host = { on: boolean; boot: number; cut: boolean; behind: boolean; fenced: boolean; door: boolean; agents: number; agent: Agent | undefined; domain: Domain };

/** libvirt's job: asked for, copying, standing still at the source, running at the target. */
export type Call = { stage: "queued" | "copy" | "switch" | "arrived"; from: number; by: number; epoch: number };

export type State = {
  /** 0: there is no record. */
  record: number;
  migrations: readonly number[];
  tombstone: boolean;
  hosts: readonly [Host, Host];
  call: Readonly<Call> | undefined;
  words: readonly string[];
  /** Another machine that wants the same disk. */
  other: "waits" | "runs";
  faultsLeft: number;
  migrationsLeft: number;
  cancelsLeft: number;
  /** The record with which the story began. */
  first: number;
  /** The epoch under which the guest last began to run somewhere. */
  ran: number;
  /** What a step did that it must never do. */
  broken: string | undefined;
};

/** Records under the number that their content has: equal records are one. */
class Shelf<T> {
  readonly #items: (T | undefined)[] = [undefined];
  readonly #numbers = new Map<string, number>();

  put(item: T): number {
    const content = JSON.stringify(item);
    const known = this.#numbers.get(content);
    if (known !== undefined) return known;
    this.#numbers.set(content, this.#items.length);
    return this.#items.push(item) - 1;
  }

  get(number: number): T | undefined {
    return this.#items[number];
  }
}

const instances = new Shelf<Instance>();
export const migrations = new Shelf<Migration>();

const versions: Instance[] = [];

/** The number is the version, too. */
export function recordOf(number: number): Instance | undefined {
  const found = instances.get(number);
  if (!found) return undefined;
  versions[number] ??= { ...found, metadata: { ...found.metadata, resourceVersion: String(number) } };
  return versions[number];
}

/** A decision is remembered, and with it the record that it makes: that one is looked at once. */
const known = new WeakMap<Instance, number>();

export function put(instance: Instance): number {
  const number = known.get(instance) ?? instances.put({ ...instance, metadata: { ...instance.metadata, resourceVersion: "" } });
  known.set(instance, number);
  return number;
}

export const bootOf = ({ boot }: Host): BootIdentity => BootIdentity.create({ kernelBootId: `boot-${boot}`, pid1StartTime: "1" });
export const agentName = (host: number, { instance }: Pick<Agent, "instance">): string => `agent-${NODES[host]}-${instance}`;
export const newAgent = (instance: number): Agent => ({ instance, view: undefined, memory: newMemory(), waited: false });

const newHost = (): Host => ({ on: true, boot: 1, cut: false, behind: false, fenced: false, door: false, agents: 1, agent: newAgent(1), domain: NO_DOMAIN });

function specOf(): Instance["spec"] {
  const disk = VirtualMachineVolume.create({ name: "data", source: { $case: "disk", value: PoolDisk.create({ pool: "shared", image: "data.img" }) } });
  const domain = { ...DomainSpec.create({ firmware: FirmwareSpec.create({ uuid: UUID }) }), memory: MemorySpec.create({ guest: "128Mi" }) };
  return { ...VirtualMachineInstanceSpec.create({ volumes: [disk] }), domain };
}

export function newInstance(uid: string, node: string, status: Partial<VirtualMachineInstanceStatus> = {}): Instance {
  return {
    metadata: ObjectMeta.create({
      name: uid, namespace: "default", uid, finalizers: ["drover.dev/domain"], ownerReferences: [OwnerReference.create({ kind: "VirtualMachine", name: uid, uid: `vm-of-${uid}` })],
    }),
    spec: specOf(),
    status: VirtualMachineInstanceStatus.create({ phase: Phase.SCHEDULED, nodeName: node, epoch: 1, lastGrantedEpoch: 1, heldVolumes: ["data"], ...status }),
  };
}

/** `lags`: agents may act on a record that has changed; else only those that are cut off do. */
export type Beginning = { lags: boolean; begins: "bound" | "running" | "moved"; faults: number; migrations: number; cancels: number };

/** The machine is bound to a; or it runs there; or it has moved to b, and a lost its power before it could tidy up. */
export function startOf({ begins, lags, faults, migrations: moves, cancels }: Beginning): State {
  const hosts: [Host, Host] = [newHost(), newHost()];
  const [owner, epoch] = begins === "moved" ? [1, 2] : [0, 1];
  const reporter = { epoch, nodeName: NODES[owner]!, agentInstance: agentName(owner, { instance: 1 }) };
  const runs: Partial<VirtualMachineInstanceStatus> = {
    phase: Phase.RUNNING, reachedRunning: true, epoch, lastGrantedEpoch: epoch,
    claim: OwnerClaim.create({ ...reporter, boot: bootOf(hosts[owner]!) }),
    ownerReport: OwnerReport.create({ ...reporter, state: DomainState.RUNNING, reason: "booted" }),
  };
  if (begins !== "bound") hosts[owner]!.domain = { life: "running", epoch };
  if (begins === "moved") hosts[0] = { ...hosts[0], on: false, agent: undefined, domain: { life: "crashed", epoch: 1 } };
  const record = put(newInstance("vmi-1", NODES[owner]!, begins === "bound" ? {} : runs));
  const start: State = {
    record, hosts, migrations: [], tombstone: false, call: undefined, words: [], other: "waits",
    faultsLeft: faults, migrationsLeft: moves, cancelsLeft: cancels, first: record, ran: epoch, broken: undefined,
  };
  return lags ? start : promptly(start);
}

/** Everybody who can be told of the record's last change has been. */
export function promptly(state: State): State {
  return state.hosts.reduce((before, { on, cut, behind, agent }, index) => {
    const isDue = on && !cut && !behind && agent && agent.view !== state.record;
    return isDue ? withHost(before, index, { agent: { ...agent, view: state.record }, fenced: false }) : before;
  }, state);
}

export function withHost(state: State, index: number, change: Partial<Host>): State {
  const hosts: [Host, Host] = [...state.hosts];
  hosts[index] = { ...hosts[index]!, ...change };
  return { ...state, hosts };
}

/** What libvirt shows of the domain. */
export function seen({ life, epoch }: Domain): Seen | undefined {
  if (life === "none") return undefined;
  const shown = {
    incoming: ["paused", "migration", false], running: ["running", "booted", true], paused: ["paused", "migration", true],
    left: ["shutoff", "migrated", true], crashed: ["shutoff", "crashed", true],
  } as const;
  const [state, reason, persistent] = shown[life];
  const identity = { namespace: "default", vm: "vmi-1", vmUid: "vm-of-vmi-1", vmiUid: "vmi-1", epoch, generation: 1 };
  return { uuid: UUID, name: "vmi-1", state, reason, persistent, identity };
}

export const isConnected = ({ on, cut, agent }: Host): boolean => on && !cut && agent?.view !== undefined;

const texts = new WeakMap<object, string>();

/** Parts are never changed, and states share them. */
function textOf(part: object): string {
  const known = texts.get(part) ?? JSON.stringify(part);
  texts.set(part, known);
  return known;
}

export function keyOf({ hosts: [a, b], words, call, record, migrations: moves, ...rest }: State): string {
  const { tombstone, other, faultsLeft, migrationsLeft, cancelsLeft, ran, broken } = rest;
  const counts = `${record}/${moves.join("+")}/${tombstone}/${other}/${faultsLeft}/${migrationsLeft}/${cancelsLeft}/${ran}/${broken}`;
  return `${counts}|${call ? textOf(call) : ""}|${words.join("|")}|${textOf(a)}|${textOf(b)}`;
}
