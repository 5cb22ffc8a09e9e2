/**
 * What may be done to a domain that no assignment of this node covers. The only place that may condemn one, so it is
 * one pure function: missing information never kills.
 */
import type { LookupMachineResponse } from "../../gen/drover/agent/v1/agent.ts";
import type { InstanceMigration, VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { instanceUid, machineUid } from "./observed.ts";
import type { InstanceIdentity } from "./observed.ts";

export type Verdict =
  /** A fence gave it up, or the machine provably lives on elsewhere. */
  | "destroy"
  /** The record names this node: its domain is rightful, and an older epoch in it is put right. */
  | "keep"
  /** Nobody can say: it is reported and left alone. */
  | "leave";

export function killVerdict(
  { identity, lookup, nodeName }: { identity: InstanceIdentity; lookup: LookupMachineResponse; nodeName: string },
): Verdict {
  if (lookup.tombstone) return "destroy";
  const { instance } = lookup;
  const status = instance?.status;
  // A later machine of the same name says nothing about this one.
  if (!instance || !status || !concerns(instance, identity)) return "leave";
  if (involves(status.migration, nodeName)) return "leave";
  if (status.nodeName === nodeName) return instanceUid(instance) === identity.vmiUid ? "keep" : "leave";
  return status.nodeName !== "" && status.epoch > identity.epoch ? "destroy" : "leave";
}

/** Epochs grow over all runs of one machine, so a later run's record speaks of an earlier run's domain, too. */
function concerns(instance: VirtualMachineInstance, { vmiUid, vmUid }: InstanceIdentity): boolean {
  return instanceUid(instance) === vmiUid || machineUid(instance) === vmUid;
}

function involves(migration: InstanceMigration | undefined, nodeName: string): boolean {
  return migration !== undefined && (migration.sourceNode === nodeName || migration.targetNode === nodeName);
}
