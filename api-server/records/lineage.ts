/**
 * What a new object continues. An instance takes up its machine's epochs where the runs before it left them: one made from
 * an older sight of the machine would hand out epochs that other owners have had, or run what nobody wants any more.
 */
import { Aborted } from "../../lib/errors.ts";
import type { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { type Kind, metaOf, type Origin, type Resource } from "../kinds/kind.ts";
import { virtualMachines } from "../kinds/virtual-machine.ts";
import type { Reads } from "../objects.ts";

/**
 * Only sound after a look that found no object of the name: the machine's record has the epochs of a run before that run
 * goes, so whoever sees it gone sees them too.
 */
export async function checkLineage<T extends Resource>(reads: Reads, kind: Kind<T>, object: T): Promise<void> {
  if (!kind.origin) return;
  const { namespace, name, ownerReferences } = metaOf(object);
  const owner = ownerReferences.find(({ kind: ownerKind }) => ownerKind === virtualMachines.name);
  if (!owner) return;
  const vm = await reads.find(virtualMachines, { namespace, name: owner.name });
  if (!vm || metaOf(vm).uid !== owner.uid || metaOf(vm).deletionTimestamp) {
    throw new Aborted(`Cannot create "${namespace}/${name}": its owner is gone, another one or being deleted`, { reason: "OWNER_CHANGED" });
  }
  const lastEpoch = vm.status?.lastEpoch ?? 0;
  const origin = kind.origin(object);
  const { grantedEpoch, isGrant } = origin;
  // One that is born with an owner has an epoch that nobody has had.
  if (isGrant ? grantedEpoch <= lastEpoch : grantedEpoch < lastEpoch) {
    const message = `Cannot create "${namespace}/${name}" at epoch ${grantedEpoch}: its machine's runs have had epochs up to ${lastEpoch}`;
    throw new Aborted(message, { reason: "STALE_EPOCH" });
  }
  if (!isOfNow(vm, origin)) {
    throw new Aborted(`Cannot create "${namespace}/${name}": its machine has been changed, stopped or restarted meanwhile`, { reason: "OWNER_CHANGED" });
  }
}

function isOfNow(vm: VirtualMachine, { machineGeneration, powerGeneration }: Origin): boolean {
  return machineGeneration === 0 || (machineGeneration === metaOf(vm).generation && powerGeneration === (vm.status?.power?.generation ?? 0));
}
