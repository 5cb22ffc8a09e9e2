/**
 * Gathers what a check before a migration is made from: records out of this replica's memory, and the words of the nodes. They
 * have three seconds in all; what they have not said by then is not known.
 */
import type { Command, CommandResult, MachineInspection } from "../../gen/drover/agent/v1/agent.ts";
import { ProbeOutcome } from "../../gen/drover/agent/v1/agent.ts";
import type { CheckMigrationRequest, CheckMigrationResponse } from "../../gen/drover/v1/migration.ts";
import type { MigrationPolicy } from "../../gen/drover/v1/migration_policy.ts";
import type { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { Clock } from "../../lib/clock.ts";
import { copiedBytes } from "../../lib/disk-transfer.ts";
import { Unavailable } from "../../lib/errors.ts";
import { forecaster } from "../../lib/forecast-history.ts";
import type { Inspected } from "../../lib/forecast-history.ts";
import { resolvePolicy } from "../../lib/migration-policy.ts";
import { takeSnapshot } from "../../lib/preflight/candidate.ts";
import type { Candidate, Snapshot, Wanted } from "../../lib/preflight/candidate.ts";
import { choose } from "../../lib/preflight/choose.ts";
import { loadsOf } from "../../lib/preflight/load.ts";
import type { Answer, Measured } from "../../lib/preflight/measured.ts";
import { SLOTS } from "../../lib/preflight/slots.ts";
import { quantityBytes } from "../../lib/quantity.ts";
import { migrationPolicies } from "../kinds/migration-policy.ts";
import { migrations } from "../kinds/migration.ts";
import { namespaces } from "../kinds/namespace.ts";
import { nodes } from "../kinds/node.ts";
import { virtualMachineInstances } from "../kinds/virtual-machine-instance.ts";
import { virtualMachines } from "../kinds/virtual-machine.ts";
import { allOf } from "../objects.ts";
import type { Objects } from "../objects.ts";
import type { Assignments } from "../sessions/assignments.ts";
import type { NodeSessions } from "../sessions/node-sessions.ts";
import { checkMigration } from "../subresources/check-migration.ts";
import { isOpen, wantedOf } from "../subresources/migrate.ts";
import { plain } from "../subresources/untrusted.ts";
import { missingRun } from "./migration-admission.ts";

export type CheckParts = { objects: Objects; assignments: Pick<Assignments, "all">; sessions: NodeSessions; clock: Clock };

const ASKED_MS = 3_000;
/** Asking all of a large fleet would take its agents' time for nothing: the best ones by record are asked. */
const ASKED_MAX = 8;

export async function checkMove(parts: CheckParts, request: CheckMigrationRequest): Promise<CheckMigrationResponse> {
  const { objects, clock } = parts;
  const key = { namespace: request.namespace || "default", name: request.name };
  const [vm, instance] = await Promise.all([objects.find(virtualMachines, key), objects.find(virtualMachineInstances, key)]);
  if (!instance) throw missingRun(vm, key);
  const [fleet, past, policies] = await Promise.all([allOf(objects, nodes), allOf(objects, migrations), allOf(objects, migrationPolicies)]);
  const source = fleet.find(({ metadata }) => metadata!.name === instance.status?.nodeName);
  const others = parts.assignments.all().filter(({ metadata }) => metadata!.uid !== instance.metadata!.uid);
  const snapshot = takeSnapshot(fleet, { loadOn: loadsOf(others) });
  const wanted = { ...wantedOf(instance, request, source), inboundPerNode: SLOTS.inboundPerNode, now: clock.now() };
  const asking = new Asking(parts, instance);
  const [inspected, measured] = await asking.about(toAsk(snapshot, wanted));
  const open = past.filter((migration) => migration.metadata!.namespace === key.namespace && migration.spec!.vmiName === key.name && isOpen(migration));
  const { options } = await policyFor(instance, policies, objects);
  const forecastMove = forecaster(past);
  return checkMigration({
    machine: {
      instance,
      isDeleting: isDeleting(vm),
      open: open.map(({ metadata }) => metadata!.name),
      sourceNode: source,
      outbound: { open: snapshot.find(({ node }) => node === source)?.outbound ?? 0, slots: SLOTS.outboundPerNode },
      hostDevices: "known" in inspected ? { known: inspected.known.hostDevices.map((device) => plain(device)) } : inspected,
    },
    snapshot,
    wanted: { ...wanted, measured },
    forecast: (targetNode) => {
      const target = fleet.find(({ metadata }) => metadata!.name === targetNode);
      const diskBytes = copiedBytes(instance.spec!, { source: source?.status?.report, target: target?.status?.report });
      return forecastMove({ instance, targetNode, diskBytes, options, inspected: loadIn(inspected) });
    },
  });
}

const isDeleting = (vm: VirtualMachine | undefined): boolean => vm?.metadata?.deletionTimestamp !== undefined;

/** The nodes that could take it by what is on record, the best first. */
function toAsk(snapshot: Snapshot, wanted: Wanted): Candidate[] {
  const asked: Candidate[] = [];
  let left = wanted.targetNode ? snapshot.filter(({ name }) => name === wanted.targetNode) : snapshot;
  while (asked.length < ASKED_MAX) {
    const { chosen } = choose(left, wanted, { patient: true });
    if (!chosen) break;
    asked.push(chosen);
    left = left.filter((candidate) => candidate !== chosen);
  }
  return asked;
}

export async function policyFor({ metadata, spec }: VirtualMachineInstance, policies: readonly MigrationPolicy[], objects: Pick<Objects, "find">) {
  const namespace = await objects.find(namespaces, { name: metadata!.namespace });
  return resolvePolicy({
    policies,
    namespaceLabels: namespace?.metadata?.labels ?? {},
    instanceLabels: metadata!.labels,
    spec: { settings: undefined, bandwidthMibPerSecond: 0, autoConverge: false },
    bytes: quantityBytes(spec?.domain?.memory?.guest ?? "0"),
  });
}

const loadIn = (inspected: Answer<MachineInspection>): Inspected | undefined =>
  "known" in inspected ? { residentBytes: inspected.known.residentBytes, dirtyBytesPerSecond: inspected.known.dirtyBytesPerSecond } : undefined;

/** What is asked of the nodes about one machine, within one limit. */
class Asking {
  readonly #parts: CheckParts;
  readonly #instance: VirtualMachineInstance;
  readonly #beganMs: number;

  constructor(parts: CheckParts, instance: VirtualMachineInstance) {
    this.#parts = parts;
    this.#instance = instance;
    this.#beganMs = parts.clock.monotonicMs();
  }

  /** The source says what runs and whether there is a way; then each target, whether it can run that. */
  async about(candidates: readonly Candidate[]): Promise<[Answer<MachineInspection>, ReadonlyMap<string, Measured>]> {
    const { metadata, spec, status } = this.#instance;
    const source = status?.nodeName ?? "";
    const value = { vmiUid: metadata!.uid, domainUuid: spec?.domain?.firmware?.uuid ?? "" };
    const reaches = candidates.map(({ node }) => this.#reach(source, node.status?.report?.migrationAddress ?? ""));
    const inspected = await this.#ask(source, { $case: "inspectMachine", value }, ({ machine }) => machine);
    const measured = await Promise.all(candidates.map(async ({ name }, index): Promise<[string, Measured]> =>
      [name, { cpu: await this.#cpu(name, inspected), reach: await reaches[index]! }]));
    return [inspected, new Map(measured)];
  }

  async #cpu(target: string, inspected: Answer<MachineInspection>): Promise<Answer<string>> {
    if ("unknown" in inspected) return inspected;
    const { cpu, domainType, machineType, architecture } = inspected.known;
    if (!cpu) return { unknown: "the running domain names no CPU model" };
    const asked = await this.#ask(target, { $case: "compareCpu", value: { cpu, domainType, machineType, architecture } }, (result) => result.cpu);
    if ("unknown" in asked) return asked;
    const { compatible, message } = asked.known;
    return { known: compatible ? "" : `libvirt there cannot run its CPU: ${plain(message)}` };
  }

  async #reach(source: string, address: string): Promise<Answer<string>> {
    if (address === "") return { unknown: "the node does not say where it receives migrations" };
    const asked = await this.#ask(source, { $case: "probeAddress", value: { address } }, ({ probe }) => probe);
    if ("unknown" in asked) return asked;
    const { outcome, message } = asked.known;
    if (outcome === ProbeOutcome.ANSWERED) return { known: "" };
    if (outcome === ProbeOutcome.NO_ROUTE) return { known: `the source has no way to ${address}: ${plain(message)}` };
    return { unknown: `${address} does not answer the source, or a firewall drops what it sends` };
  }

  async #ask<T>(node: string, action: NonNullable<Command["action"]>, part: (result: CommandResult) => T | undefined): Promise<Answer<T>> {
    const { sessions, clock } = this.#parts;
    const timeoutMs = Math.max(0, this.#beganMs + ASKED_MS - clock.monotonicMs());
    try {
      const result = await sessions.ask(node, action, timeoutMs);
      const known = part(result);
      return result.error === "" && known !== undefined ? { known } : { unknown: `"${node}" says: ${plain(result.error) || "nothing"}` };
    } catch (error) {
      if (error instanceof Unavailable) return { unknown: error.message };
      throw error;
    }
  }
}
