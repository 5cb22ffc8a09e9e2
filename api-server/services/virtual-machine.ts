/** Virtual machines as records; what is done to them is in the verbs. */
import type {
  CreateVirtualMachineRequest, DeleteVirtualMachineRequest, GetVirtualMachineRequest, ListVirtualMachinesRequest,
  UpdateVirtualMachineRequest, UpdateVirtualMachineStatusRequest, WatchVirtualMachinesRequest,
} from "../../gen/drover/v1/virtual_machine.ts";
import { virtualMachines } from "../kinds/table.ts";
import type { WithCall } from "../objects.ts";
import { crud } from "./crud.ts";
import type { ServiceParts } from "./service.ts";

export function virtualMachineRecords(parts: ServiceParts) {
  const records = crud(virtualMachines, parts);
  return {
    createVirtualMachine: async (request: CreateVirtualMachineRequest, { call }: WithCall) => ({
      virtualMachine: await records.create(request.virtualMachine, call),
    }),

    getVirtualMachine: async (request: GetVirtualMachineRequest) => ({ virtualMachine: await records.get(request) }),

    async listVirtualMachines(request: ListVirtualMachinesRequest, { call }: WithCall) {
      const { items, ...page } = await records.list(request, call);
      return { ...page, virtualMachines: items };
    },

    watchVirtualMachines: (request: WatchVirtualMachinesRequest, { call }: WithCall) =>
      records.watch(request, call, (virtualMachine, reason) => ({ virtualMachine, reason })),

    updateVirtualMachine: async (request: UpdateVirtualMachineRequest, { call }: WithCall) => ({
      virtualMachine: await records.update(request.virtualMachine, request, call),
    }),

    updateVirtualMachineStatus: async (request: UpdateVirtualMachineStatusRequest, { call }: WithCall) => ({
      virtualMachine: await records.updateStatus(request.virtualMachine, call),
    }),

    deleteVirtualMachine: async (request: DeleteVirtualMachineRequest, { call }: WithCall) => ({
      virtualMachine: await records.remove(request, call),
    }),
  };
}
