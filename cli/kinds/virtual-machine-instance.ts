/** Virtual machine instances, as tables show them. */
import { DomainState, Phase, VirtualMachineInstance, VirtualMachineInstanceServiceDefinition } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { ConditionStatus } from "../../gen/drover/v1/meta.ts";
import { ageColumn, nameColumn, word } from "./kind.ts";
import type { Kind } from "./kind.ts";

/** True, False or Unknown; empty where the condition is not set. */
function condition({ status }: VirtualMachineInstance, type: string): string {
  return word(ConditionStatus, status?.conditions.find((one) => one.type === type)?.status);
}

export const virtualMachineInstances: Kind<VirtualMachineInstance> = {
  kind: "VirtualMachineInstance",
  namespaced: true,
  noun: "VirtualMachineInstance",
  nounPlural: "VirtualMachineInstances",
  field: "virtualMachineInstance",
  listField: "virtualMachineInstances",
  definition: VirtualMachineInstanceServiceDefinition,
  codec: VirtualMachineInstance,
  columns: [
    nameColumn,
    { title: "PHASE", cell: ({ status }) => word(Phase, status?.phase) },
    { title: "NODE", cell: ({ status }) => status?.nodeName ?? "" },
    { title: "REACHABLE", cell: (instance) => (condition(instance, "NodeReachable") === "False" ? "False" : "True") },
    ageColumn,
    { title: "DOMAIN", wide: true, cell: ({ status }) => word(DomainState, status?.ownerReport?.state) },
    { title: "EPOCH", wide: true, cell: ({ status }) => String(status?.epoch ?? 0) },
    { title: "MIGRATION", wide: true, cell: ({ status }) => status?.migration?.name ?? "" },
    { title: "LIVE-MIGRATABLE", wide: true, cell: (instance) => condition(instance, "LiveMigratable") },
    { title: "UID", wide: true, cell: ({ metadata }) => metadata?.uid ?? "" },
  ],
};
