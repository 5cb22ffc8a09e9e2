/** Volumes as records. */
import type {
  CreateVolumeRequest, DeleteVolumeRequest, GetVolumeRequest, ListVolumesRequest, UpdateVolumeRequest, UpdateVolumeStatusRequest,
  WatchVolumesRequest,
} from "../../gen/drover/v1/volume.ts";
import { volumes } from "../kinds/table.ts";
import type { WithCall } from "../objects.ts";
import { crud } from "./crud.ts";
import { checkVolumeFree } from "./deletion.ts";
import type { ServiceParts } from "./service.ts";

export function volumeRecords(parts: ServiceParts) {
  const records = crud(volumes, parts);
  return {
    createVolume: async (request: CreateVolumeRequest, { call }: WithCall) => ({ volume: await records.create(request.volume, call) }),

    getVolume: async (request: GetVolumeRequest) => ({ volume: await records.get(request) }),

    async listVolumes(request: ListVolumesRequest, { call }: WithCall) {
      const { items, ...page } = await records.list(request, call);
      return { ...page, volumes: items };
    },

    watchVolumes: (request: WatchVolumesRequest, { call }: WithCall) =>
      records.watch(request, call, (volume, reason) => ({ volume, reason })),

    updateVolume: async (request: UpdateVolumeRequest, { call }: WithCall) => ({
      volume: await records.update(request.volume, request, call),
    }),

    updateVolumeStatus: async (request: UpdateVolumeStatusRequest, { call }: WithCall) => ({
      volume: await records.updateStatus(request.volume, call),
    }),

    deleteVolume: async (request: DeleteVolumeRequest, { call }: WithCall) => {
      return { volume: await records.remove(request, call, () => checkVolumeFree(parts, request)) };
    },
  };
}
