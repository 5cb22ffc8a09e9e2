/** What a list or a watch is about, parsed once. */
import type { Selectors, Sight } from "../objects.ts";
import { type Kind, metaOf, type Resource } from "../kinds/kind.ts";
import { parseFieldSelector } from "../validate/field-selector.ts";
import { parseLabelSelector } from "../validate/label-selector.ts";
import type { Schema } from "../validate/schema.ts";

export type Selection<T> = { everything: boolean; matches(object: T): boolean };

export function selectionOf<T extends Resource>(kind: Kind<T>, selectors: Selectors & Sight, schema: Schema): Selection<T> {
  const { labelSelector = "", fieldSelector = "", namespaces } = selectors;
  const byLabels = parseLabelSelector(labelSelector);
  const byFields = parseFieldSelector(fieldSelector, schema.message(kind.typeName));
  return {
    everything: labelSelector.trim() === "" && fieldSelector.trim() === "" && namespaces === undefined,
    matches: (object) => (namespaces?.includes(metaOf(object).namespace) ?? true) && byLabels(metaOf(object).labels) && byFields(object),
  };
}
