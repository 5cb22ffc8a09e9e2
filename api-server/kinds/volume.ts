/** A writable image and who holds it. */
import { Volume } from "../../gen/drover/v1/volume.ts";
import { type Kind, metaOf } from "./kind.ts";
import { fileName } from "./machine/disks.ts";
import { validateMeta } from "./names.ts";
import { unchangedSpec } from "./unchanged.ts";

const unowned = ({ spec }: Volume) => ({ spec: spec && { ...spec, namespace: "" } });

export const volumes: Kind<Volume> = {
  name: "Volume",
  plural: "volumes",
  field: "volume",
  typeName: "drover.v1.Volume",
  namespaced: false,
  longNames: true,
  codec: Volume,
  defaults: (volume) => volume,
  withoutStatus: (volume) => ({ ...volume, status: undefined }),
  withStatus: (stored, sent) => ({ ...stored, status: sent.status }),
  validate: (volume) => [
    ...validateMeta(metaOf(volume), volumes),
    ...(volume.spec ? fileName("spec.image", volume.spec.image) : []),
  ],
  // Giving an image to another namespace is the administrator's word; what the image is never changes.
  validateChange: (before, after) => unchangedSpec(unowned(before), unowned(after)),
};
