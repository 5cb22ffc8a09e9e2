/**
 * What a new object continues. An instance takes up its machine's epochs where the runs before it left them: one made from
 * an older sight of the machine would hand out epochs that other owners have had.
 */
import { Aborted } from "../../lib/errors.ts";
import { type Kind, metaOf, type Resource } from "../kinds/kind.ts";
import { virtualMachines } from "../kinds/virtual-machine.ts";
import type { Reads } from "../objects.ts";

/**
 * Only sound after a look that found no object of the name: the machine's record has the epochs of a run before that run
 * goes, so whoever sees it gone sees them too.
 */
export async function checkLineage<T extends Resource>(reads: Reads, kind: Kind<T>, object: T): Promise<void> {
  if (!kind.grantedEpoch) return;
  const { namespace, name, ownerReferences } = metaOf(object);
  const owner = ownerReferences.find(({ kind: ownerKind }) => ownerKind === virtualMachines.name);
  if (!owner) return;
  const vm = await reads.find(virtualMachines, { namespace, name: owner.name });
  if (!vm || metaOf(vm).uid !== owner.uid || metaOf(vm).deletionTimestamp) {
    throw new Aborted(`Cannot create "${namespace}/${name}": its owner is gone, another one or being deleted`, { reason: "OWNER_CHANGED" });
  }
  const lastEpoch = vm.status?.lastEpoch ?? 0;
  const granted = kind.grantedEpoch(object);
  if (granted < lastEpoch) {
    const message = `Cannot create "${namespace}/${name}" at epoch ${granted}: its machine's runs have had epochs up to ${lastEpoch}`;
    throw new Aborted(message, { reason: "STALE_EPOCH" });
  }
}
