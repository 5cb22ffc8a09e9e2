/** What must be when all has been well for a while: every machine as it was wished, nothing left over, nothing still held. */
import { NodeSessionState } from "../../../gen/drover/v1/node.ts";
import { PowerIntent, PrintableStatus, RunStrategy } from "../../../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachine } from "../../../gen/drover/v1/virtual_machine.ts";
import { ConditionStatus } from "../../../gen/drover/v1/meta.ts";
import { Phase } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { MigrationPhase } from "../../../gen/drover/v1/migration.ts";
import { parseInstanceMetadata } from "../../../node-agent/domain/metadata.ts";
import type { Fleet } from "../programs/fleet.ts";
import { wordOf } from "./mirror.ts";
import type { Mirror } from "./mirror.ts";

export type Fault = { invariant: string; message: string };

const ENDED: readonly MigrationPhase[] = [MigrationPhase.SUCCEEDED, MigrationPhase.FAILED, MigrationPhase.CANCELLED];

export function faultsAtEnd(fleet: Fleet, mirror: Mirror): Fault[] {
  const machines = [...mirror.machines.objects.values()];
  const i13 = (message: string): Fault => ({ invariant: "I13", message });
  return [
    ...machines.flatMap((machine) => machineFault(fleet, mirror, machine)).map(i13),
    ...strays(fleet, mirror).map(i13),
    ...nodeFaults(fleet, mirror).map(i13),
    ...migrationFaults(mirror).map((message) => ({ invariant: "I5", message })),
    ...leftHeld(fleet, mirror).map((message) => ({ invariant: "RETURNED", message })),
  ];
}

function machineFault(fleet: Fleet, mirror: Mirror, machine: VirtualMachine): string[] {
  const name = machine.metadata!.name;
  const instance = mirror.instances.objects.get(name);
  if (machine.metadata!.deletionTimestamp) return [`${name} is being deleted and does not go: ${about(instance)}`];
  const running = runners(fleet, machine);
  if (running.length > 1) return [`${name} runs on ${running.join(" and ")}`];
  const { power, printableStatus } = machine.status ?? {};
  if (power?.intent !== PowerIntent.RUN) return instance || running.length > 0 ? [`${name} shall be off: ${about(instance)}, running on ${running.join() || "no host"}`] : [];
  if (printableStatus === PrintableStatus.CRASH_LOOP_BACK_OFF || waitsForItsDisk(instance)) return [];
  const strategy = machine.spec?.runStrategy;
  const mayRest = strategy !== RunStrategy.ALWAYS && strategy !== RunStrategy.HALTED;
  if (mayRest && running.length === 0 && (!instance || isOver(instance))) return [];
  return runningFault(fleet, name, instance, running[0]);
}

function runningFault(fleet: Fleet, name: string, instance: VirtualMachineInstance | undefined, host: string | undefined): string[] {
  const status = instance?.status;
  if (!status || status.phase !== Phase.RUNNING) return [`${name} shall run, and is ${about(instance)}; its guest runs on ${host ?? "no host"}`];
  if (status.nodeName !== host) return [`${name} is recorded on ${status.nodeName} and runs on ${host ?? "no host"}: ${about(instance)}`];
  const uuid = instance.spec?.domain?.firmware?.uuid ?? "";
  const epoch = parseInstanceMetadata(fleet.places.get(host)?.host.domain(uuid)?.metadata)?.epoch;
  if (epoch !== status.epoch || status.claim?.epoch !== status.epoch) return [`${name} stands at epoch ${status.epoch}, its claim at ${status.claim?.epoch}, its domain at ${epoch}`];
  return instance.metadata?.deletionTimestamp ? [`${name} is being stopped and shall run`] : [];
}

const runners = (fleet: Fleet, { spec }: VirtualMachine): string[] => {
  const uuid = spec?.template?.spec?.domain?.firmware?.uuid ?? "";
  return [...fleet.places.values()].filter(({ host }) => host.up && host.qemus.get(uuid)?.state === "running").map(({ host }) => host.name);
};

const isOver = ({ status }: VirtualMachineInstance): boolean => status?.phase === Phase.SUCCEEDED || status?.phase === Phase.FAILED;

/** Another machine has the disk: a state that waits for whoever made them both. */
const waitsForItsDisk = (instance: VirtualMachineInstance | undefined): boolean =>
  instance?.status?.conditions.some(({ type, status, reason }) => type === "VolumesHeld" && status === ConditionStatus.FALSE && reason === "VolumeInUse") ?? false;

function about(instance: VirtualMachineInstance | undefined): string {
  if (!instance?.status) return "without a run";
  const { phase, nodeName, epoch, claim, migration, ownerReport, conditions } = instance.status;
  const deleting = instance.metadata?.deletionTimestamp ? ", being deleted" : "";
  const untrue = conditions.filter(({ status }) => status !== ConditionStatus.TRUE).map(({ type, reason }) => `${type}=${reason}`).join(" ");
  return `${wordOf(Phase, phase)} on "${nodeName}" at ${epoch} (claim ${claim?.epoch ?? "none"}, said ${ownerReport?.state ?? "nothing"}${migration ? `, migration ${migration.sourceNode}>${migration.targetNode} source ${migration.source?.state} target ${migration.target?.state}${migration.handedOff ? " handed off" : ""}` : ""}${deleting}${untrue && `, ${untrue}`})`;
}

/** Domains of machines that are nowhere recorded to be there. */
function strays(fleet: Fleet, mirror: Mirror): string[] {
  return [...fleet.places.values()].filter(({ host }) => host.up).flatMap(({ host }) =>
    host.domains().flatMap((domain) => {
      const identity = parseInstanceMetadata(domain.metadata);
      if (!identity) return [];
      const record = mirror.instances.objects.get(identity.vm);
      const rightful = record?.metadata?.uid === identity.vmiUid && record.status?.nodeName === host.name;
      return rightful || isForAPerson(mirror, { host: host.name, domain, vmUid: identity.vmUid }) ? [] : [`${host.name} still has "${domain.name}" (${domain.state}/${domain.reason}, epoch ${identity.epoch}): ${about(record)}`];
    }));
}

/**
 * What no record speaks of any more is left alone, however it came about: a definition on a host without power while its
 * run ended elsewhere, a half at a source whose libvirt slept while its machine moved and was deleted. It does not run, and its
 * node has to report it.
 */
function isForAPerson(mirror: Mirror, { host, domain, vmUid }: { host: string; domain: { name: string; state: string }; vmUid: string }): boolean {
  const known = [...mirror.machines.objects.values()].some(({ metadata }) => metadata?.uid === vmUid);
  const reported = mirror.nodes.objects.get(host)?.status?.report?.foreignDomains.includes(domain.name) ?? false;
  return domain.state !== "running" && !known && reported;
}

function nodeFaults(fleet: Fleet, mirror: Mirror): string[] {
  return [...fleet.places.values()].filter(({ host }) => host.up).flatMap(({ host }) => {
    const state = mirror.nodes.objects.get(host.name)?.status?.session?.state;
    return state === NodeSessionState.CONNECTED ? [] : [`node ${host.name} is not connected`];
  });
}

function migrationFaults(mirror: Mirror): string[] {
  return [...mirror.migrations.objects.values()].flatMap(({ metadata, status, spec }) =>
    status && ENDED.includes(status.phase) ? [] : [`migration ${metadata?.name} of ${spec?.vmiName} has not ended: ${wordOf(MigrationPhase, status?.phase)}, waiting for ${status?.waitingFor.join() || "nothing"}: ${about(mirror.instances.objects.get(spec?.vmiName ?? ""))}`]);
}

function leftHeld(fleet: Fleet, mirror: Mirror): string[] {
  const uids = new Set([...mirror.instances.objects.values()].map(({ metadata }) => metadata?.uid));
  const volumes = [...mirror.volumes.objects.values()].filter(({ status }) => status?.holder && !uids.has(status.holder.vmiUid));
  const doors = [...fleet.places.values()].filter(({ host }) => host.up && host.doors.size > 0);
  const grants = [...mirror.instances.objects.values()].filter(({ status }) => status?.migration !== undefined);
  return [
    ...volumes.map(({ metadata, status }) => `volume ${metadata?.name} is held by ${status?.holder?.name}, whose run is gone`),
    ...doors.map(({ host }) => `${host.name} still has a door open`),
    ...grants.map((instance) => `${instance.metadata?.name} still carries a migration: ${about(instance)}`),
  ];
}
