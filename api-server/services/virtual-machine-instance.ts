/** Instances as records; release and console are in the verbs. */
import type {
  CreateVirtualMachineInstanceRequest, DeleteVirtualMachineInstanceRequest, GetVirtualMachineInstanceRequest,
  ListVirtualMachineInstancesRequest, UpdateVirtualMachineInstanceRequest, UpdateVirtualMachineInstanceStatusRequest,
  WatchVirtualMachineInstancesRequest,
} from "../../gen/drover/v1/virtual_machine_instance.ts";
import { virtualMachineInstances } from "../kinds/table.ts";
import type { WithCall } from "../objects.ts";
import { crud } from "./crud.ts";
import type { ServiceParts } from "./service.ts";

export function virtualMachineInstanceRecords(parts: ServiceParts) {
  const records = crud(virtualMachineInstances, parts);
  return {
    createVirtualMachineInstance: async (request: CreateVirtualMachineInstanceRequest, { call }: WithCall) => ({
      virtualMachineInstance: await records.create(request.virtualMachineInstance, call),
    }),

    getVirtualMachineInstance: async (request: GetVirtualMachineInstanceRequest) => ({
      virtualMachineInstance: await records.get(request),
    }),

    async listVirtualMachineInstances(request: ListVirtualMachineInstancesRequest, { call }: WithCall) {
      const { items, ...page } = await records.list(request, call);
      return { ...page, virtualMachineInstances: items };
    },

    watchVirtualMachineInstances: (request: WatchVirtualMachineInstancesRequest, { call }: WithCall) =>
      records.watch(request, call, (virtualMachineInstance, reason) => ({ virtualMachineInstance, reason })),

    updateVirtualMachineInstance: async (request: UpdateVirtualMachineInstanceRequest, { call }: WithCall) => ({
      virtualMachineInstance: await records.update(request.virtualMachineInstance, request, call),
    }),

    updateVirtualMachineInstanceStatus: async (request: UpdateVirtualMachineInstanceStatusRequest, { call }: WithCall) => ({
      virtualMachineInstance: await records.updateStatus(request.virtualMachineInstance, call),
    }),

    deleteVirtualMachineInstance: async (request: DeleteVirtualMachineInstanceRequest, { call }: WithCall) => ({
      virtualMachineInstance: await records.remove(request, call),
    }),
  };
}
