/** Volumes, as tables show them. */
import { Volume, VolumeServiceDefinition, VolumeState } from "../../gen/drover/v1/volume.ts";
import { ageColumn, nameColumn, word } from "./kind.ts";
import type { Kind } from "./kind.ts";

export const volumes: Kind<Volume> = {
  kind: "Volume",
  namespaced: false,
  noun: "Volume",
  nounPlural: "Volumes",
  field: "volume",
  listField: "volumes",
  definition: VolumeServiceDefinition,
  codec: Volume,
  columns: [
    nameColumn,
    { title: "POOL", cell: ({ spec }) => spec?.pool || spec?.poolId || "" },
    { title: "IMAGE", cell: ({ spec }) => spec?.image ?? "" },
    { title: "STATE", cell: ({ status }) => word(VolumeState, status?.state) },
    { title: "HELD-BY", cell: ({ status }) => (status?.holder ? `${status.holder.namespace}/${status.holder.name}` : "") },
    { title: "NAMESPACE", cell: ({ spec }) => spec?.namespace ?? "" },
    ageColumn,
    { title: "EPOCH", wide: true, cell: ({ status }) => (status?.holder ? String(status.holder.epoch) : "") },
    { title: "POOL-ID", wide: true, cell: ({ spec }) => spec?.poolId ?? "" },
  ],
};
