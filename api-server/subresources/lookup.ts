/**
 * What a node is told of an instance whose domain, or whose machine's domain, it says it has found. Whether that domain may
 * live follows from these facts, so that the node must get them; more than them it gets only of its own. Pure.
 */
import { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import { VirtualMachineInstance, VirtualMachineInstanceStatus } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { concerns } from "../sessions/roles.ts";

export type Asked = { vmUid: string; vmiUid: string; node: string };

/** Undefined where the record is of another machine of that name: to who asks, there is none. */
export function knownOf(instance: VirtualMachineInstance, { vmUid, vmiUid, node }: Asked): VirtualMachineInstance | undefined {
  const { uid, namespace, name, ownerReferences } = instance.metadata ?? ObjectMeta.create();
  const isAskedFor = (uid !== "" && uid === vmiUid) || ownerReferences.some((owner) => owner.uid !== "" && owner.uid === vmUid);
  if (!isAskedFor) return undefined;
  if (concerns(instance, node)) return instance;
  const { nodeName, epoch } = instance.status ?? VirtualMachineInstanceStatus.create();
  return {
    ...VirtualMachineInstance.create(),
    metadata: { ...ObjectMeta.create(), uid, namespace, name, ownerReferences },
    status: { ...VirtualMachineInstanceStatus.create(), nodeName, epoch },
  };
}
