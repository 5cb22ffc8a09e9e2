/**
 * Taking the domain finalizer off a run: the one step after which its machine may start elsewhere, so each reason needs
 * its evidence in the records. Pure.
 */
import type { Node } from "../../gen/drover/v1/node.ts";
import type { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { DomainState, ReleaseReason, VirtualMachineInstanceStatus } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { Aborted } from "../../lib/errors.ts";
import { DOMAIN_FINALIZER } from "../kinds/virtual-machine-instance.ts";
import { refuse, VMI } from "./refusal.ts";

/** `vm` is the machine that the run belongs to, `node` its owner's record; undefined when they do not exist. */
export type Releasing = { uid: string; reason: ReleaseReason; vm: VirtualMachine | undefined; node: Node | undefined };

/** Undefined: it has been released already. */
export function release(vmi: VirtualMachineInstance, releasing: Releasing): VirtualMachineInstance | undefined {
  const meta = vmi.metadata!;
  if (meta.uid !== releasing.uid) throw new Aborted(`Another instance has the name "${meta.name}": ${meta.uid}`, { reason: "STALE_UID" });
  if (!meta.finalizers.includes(DOMAIN_FINALIZER)) return undefined;
  if (!meta.deletionTimestamp) refuse("NOT_DELETING", { plural: VMI, object: vmi }, "It is not being deleted");
  requireEvidence(vmi, releasing);
  return { ...vmi, metadata: { ...meta, finalizers: meta.finalizers.filter((finalizer) => finalizer !== DOMAIN_FINALIZER) } };
}

function requireEvidence(vmi: VirtualMachineInstance, { reason, vm, node }: Releasing): void {
  const status = vmi.status ?? VirtualMachineInstanceStatus.create();
  const no = (type: string, message: string) => refuse(type, { plural: VMI, object: vmi }, message);
  if (status.migration) no("MIGRATION_OPEN", "Its migration has not ended: its domain may be at either node");
  if (reason === ReleaseReason.UNCLAIMED) {
    if (status.claim) no("CLAIMED", `"${status.claim.nodeName}" has claimed it`);
    return;
  }
  if (reason === ReleaseReason.GONE && !saidGone(status)) no("NOT_GONE", "Its owner has not said that the domain is gone");
  if (reason === ReleaseReason.FENCED && !node?.status?.fence) no("NOT_FENCED", `The node "${status.nodeName}" is not confirmed fenced`);
  requireWrittenDown(vmi, vm, reason, no);
}

/** Epochs grow over a machine's runs, so the machine's record must have taken over this run's before it goes. */
function requireWrittenDown(
  vmi: VirtualMachineInstance,
  vm: VirtualMachine | undefined,
  reason: ReleaseReason,
  no: (type: string, message: string) => never,
): void {
  if (!vm || !vmi.metadata?.ownerReferences.some(({ uid }) => uid === vm.metadata?.uid)) return;
  if ((vm.status?.lastEpoch ?? 0) < (vmi.status?.lastGrantedEpoch ?? 0)) no("NOT_WRITTEN_DOWN", "Its machine does not know its last epoch yet");
  if (reason === ReleaseReason.GONE && vm.status?.lastRun?.uid !== vmi.metadata.uid) no("NOT_WRITTEN_DOWN", "Its machine does not know how it ended yet");
}

/** An epoch that a failed migration burned after the report still has the same owner. */
function saidGone({ ownerReport, nodeName, epoch }: VirtualMachineInstanceStatus): boolean {
  return ownerReport?.state === DomainState.GONE && ownerReport.nodeName === nodeName && ownerReport.epoch <= epoch;
}
