/** What an instance is called on a host (pure). */
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { InvalidDomain } from "./element.ts";

export type MachineIdentity = { namespace: string; vm: string; vmUid: string; vmiUid: string; domainUuid: string };

/** An instance that no VirtualMachine owns stands for itself. */
export function machineIdentity({ metadata, spec }: VirtualMachineInstance): MachineIdentity {
  const domainUuid = spec?.domain?.firmware?.uuid ?? "";
  if (metadata === undefined || domainUuid === "") throw new InvalidDomain("Cannot name the domain: the instance has no metadata or no firmware uuid");
  const owner = metadata.ownerReferences.find(({ kind }) => kind === "VirtualMachine") ?? metadata;
  return { namespace: metadata.namespace, vm: owner.name, vmUid: owner.uid, vmiUid: metadata.uid, domainUuid: domainUuid.toLowerCase() };
}

const UID_PART_LENGTH = 8;

/** Short of libvirt's limit on names, unique through the uid, and readable in `virsh list`. */
export function domainName({ namespace, vm, vmUid }: Pick<MachineIdentity, "namespace" | "vm" | "vmUid">): string {
  return `${namespace}_${vm}_${vmUid.replaceAll("-", "").slice(0, UID_PART_LENGTH)}`;
}
