/** Virtual machines, as tables show them. */
import { PrintableStatus, RunStrategy, VirtualMachine, VirtualMachineServiceDefinition } from "../../gen/drover/v1/virtual_machine.ts";
import { ageColumn, nameColumn, word } from "./kind.ts";
import type { Kind } from "./kind.ts";

export const virtualMachines: Kind<VirtualMachine> = {
  kind: "VirtualMachine",
  namespaced: true,
  noun: "VirtualMachine",
  nounPlural: "VirtualMachines",
  field: "virtualMachine",
  listField: "virtualMachines",
  definition: VirtualMachineServiceDefinition,
  codec: VirtualMachine,
  columns: [
    nameColumn,
    { title: "STATUS", cell: ({ status }) => word(PrintableStatus, status?.printableStatus) },
    { title: "READY", cell: ({ status }) => (status?.ready ? "True" : "False") },
    { title: "NODE", cell: ({ status }) => status?.nodeName ?? "" },
    ageColumn,
    { title: "STRATEGY", wide: true, cell: ({ spec }) => word(RunStrategy, spec?.runStrategy) },
    { title: "CPU-MODEL", wide: true, cell: ({ status }) => status?.frozen?.cpuModel ?? "" },
    { title: "MACHINE", wide: true, cell: ({ status }) => status?.frozen?.machineType ?? "" },
    { title: "UID", wide: true, cell: ({ metadata }) => metadata?.uid ?? "" },
  ],
};
