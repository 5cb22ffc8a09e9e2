/** Paths of proto fields in decoded messages, such as "spec.template.spec.domain". Pure; the descriptors say what exists. */
import type { DescField, DescMessage } from "@bufbuild/protobuf";

/** The fields that a path names, from the root; undefined when it names none. */
export function resolvePath(root: DescMessage, path: string): DescField[] | undefined {
  const fields: DescField[] = [];
  let within: DescMessage | undefined = root;
  for (const name of path.split(".")) {
    const field: DescField | undefined = within?.fields.find((candidate) => candidate.name === name);
    if (!field) return undefined;
    fields.push(field);
    within = field.fieldKind === "message" ? field.message : undefined;
  }
  return fields;
}

type Message = Record<string, unknown>;
type Choice = { $case: string; value: unknown };

/** What stands in a field; a member of a oneof stands there only while it is the chosen one. */
export function getField(message: unknown, field: DescField): unknown {
  const values = message as Message | undefined;
  if (field.oneof === undefined) return values?.[field.localName];
  const choice = values?.[field.oneof.localName] as Choice | undefined;
  return choice?.$case === field.localName ? choice.value : undefined;
}

/** A copy with another value in the field. */
export function setField(message: unknown, field: DescField, value: unknown): Message {
  const values = message as Message;
  if (field.oneof === undefined) return { ...values, [field.localName]: value };
  const chosen = getField(values, field) !== undefined;
  if (value === undefined) return chosen ? { ...values, [field.oneof.localName]: undefined } : values;
  return { ...values, [field.oneof.localName]: { $case: field.localName, value } satisfies Choice };
}
