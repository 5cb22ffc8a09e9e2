/** A space of names. */
import { Namespace } from "../../gen/drover/v1/namespace.ts";
import { type Kind, metaOf } from "./kind.ts";
import { validateMeta } from "./names.ts";

/** Exists from the start and stays. */
export const DEFAULT_NAMESPACE = "default";

export const namespaces: Kind<Namespace> = {
  name: "Namespace",
  plural: "namespaces",
  field: "namespace",
  typeName: "drover.v1.Namespace",
  namespaced: false,
  codec: Namespace,
  defaults: (namespace) => namespace,
  withoutStatus: (namespace) => namespace,
  validate: (namespace) => validateMeta(metaOf(namespace), namespaces),
  validateChange: () => [],
};
