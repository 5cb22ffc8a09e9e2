/**
 * The machine's record during a migration: what is entered, what is read from it, how ownership moves in it. Every change
 * here is one compare-and-set on one record. Pure.
 */
import {
  DomainState,
  InstanceMigration,
  MigrationSourceReport,
  MigrationSourceState,
  MigrationTargetState,
  OwnerClaim,
  OwnerReport,
} from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { MigrationOptions } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { MigrationPhase } from "../../gen/drover/v1/migration.ts";
import { holds, withFacts } from "../conditions.ts";
import { isKnown } from "../known.ts";
import type { Instance, Migration } from "../objects.ts";
import { copiedDisks, heldAtSource, heldAtTarget, heldMeanwhile } from "./copies.ts";
import type { Ends } from "./copies.ts";
import type { KnownPhase } from "./story.ts";

export type Admitting = Ends & { options: MigrationOptions };

/**
 * The instance with this migration entered; the target's grant is above every epoch ever granted. Which certificates may
 * meet at the target's door is settled here: a node that is enrolled anew is no party to it any more.
 */
export function admitted(instance: Instance, migration: Migration, { source, target, options }: Admitting): Instance {
  const { status } = instance;
  const targetEpoch = status.lastGrantedEpoch + 1;
  const grant = InstanceMigration.create({
    sourceNodeUid: source?.metadata.uid ?? "",
    sourceIncarnation: source?.status.identity?.incarnation ?? 0,
    targetNodeUid: target.metadata.uid,
    targetIncarnation: target.status.identity?.incarnation ?? 0,
    uid: migration.metadata.uid,
    name: migration.metadata.name,
    sourceNode: status.nodeName,
    targetNode: target.metadata.name,
    sourceEpoch: status.epoch,
    targetEpoch,
    options,
    bandwidthMibPerSecond: options.bandwidthMibPerSecond,
    autoConverge: options.autoConverge,
    copiedDisks: copiedDisks(instance, { source, target }),
  });
  return { ...instance, status: { ...status, lastGrantedEpoch: targetEpoch, heldVolumes: heldMeanwhile(status.heldVolumes, grant), migration: grant } };
}

/** The target owns the machine from here on. */
export function handedOff(instance: Instance, grant: InstanceMigration, now: Date): Instance {
  const { status } = instance;
  const { targetNode: nodeName, targetEpoch: epoch, target } = grant;
  const agentInstance = target?.agentInstance ?? "";
  return {
    ...instance,
    status: {
      ...status,
      nodeName,
      epoch,
      heldVolumes: heldAtTarget(status.heldVolumes, grant),
      claim: OwnerClaim.create({ epoch, nodeName, boot: target?.boot, agentInstance }),
      ownerReport: OwnerReport.create({ nodeName, epoch, agentInstance, state: DomainState.RUNNING, reason: "migrated", observed: now }),
      conditions: withFacts(status.conditions, [holds("Scheduled", "Bound", `moved to node ${nodeName}`)], now),
      migration: { ...grant, handedOff: true },
    },
  };
}

/**
 * The machine stays, and whatever still carries the target's epoch is stale: the owner gets one above it. The owner's last
 * word is about the same domain, so it goes along.
 */
export function revoked(instance: Instance, grant: InstanceMigration): Instance {
  const { status } = instance;
  const epoch = Math.max(grant.targetEpoch, status.lastGrantedEpoch) + 1;
  return {
    ...instance,
    status: {
      ...status,
      epoch,
      lastGrantedEpoch: epoch,
      heldVolumes: heldAtSource(status.heldVolumes, grant),
      claim: status.claim && { ...status.claim, epoch },
      ownerReport: status.ownerReport && { ...status.ownerReport, epoch },
      migration: undefined,
    },
  };
}

export const closed = (instance: Instance): Instance => ({ ...instance, status: { ...instance.status, migration: undefined } });

export function abortAsked(instance: Instance, grant: InstanceMigration): Instance {
  return { ...instance, status: { ...instance.status, migration: { ...grant, abortRequested: true } } };
}

/** A confirmed fence is the source's last word: nothing runs there, and no call of it can still arrive. */
export function testified(instance: Instance, grant: InstanceMigration): Instance {
  const source = grant.source ?? MigrationSourceReport.create();
  const ended = { ...source, generation: source.generation + 1, state: MigrationSourceState.ENDED, message: "the source was confirmed fenced" };
  return { ...instance, status: { ...instance.status, migration: { ...grant, source: ended } } };
}

/** Where an admitted migration stands, by the machine's record. */
export function phaseOf(grant: InstanceMigration): KnownPhase {
  if (grant.handedOff) return MigrationPhase.FINALIZING;
  if ((grant.source?.state ?? MigrationSourceState.UNSPECIFIED) !== MigrationSourceState.UNSPECIFIED) return MigrationPhase.RUNNING;
  return grant.target?.state === MigrationTargetState.READY ? MigrationPhase.TARGET_READY : MigrationPhase.PREPARING_TARGET;
}

/** A newer peer's state: what it means nobody here can know, so nothing is decided on it. */
export function isUnderstood({ source, target }: InstanceMigration): boolean {
  return isKnown(MigrationSourceState, source?.state ?? 0) && isKnown(MigrationTargetState, target?.state ?? 0);
}
