/** The API as its own description has it: every service, call, message and field, for tests of what there is no way to say. */
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import type { DescField, DescMessage, DescMethod } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { loadSchema } from "../../api-server/schema.ts";

const own = (typeName: string) => typeName.startsWith("drover.");
const types = [...createFileRegistry(fromBinary(FileDescriptorSetSchema, loadSchema().image))].filter(({ typeName }) => own(typeName));

export const methods: readonly DescMethod[] = types.flatMap((type) => (type.kind === "service" ? type.methods : []));
export const messages: readonly DescMessage[] = types.filter((type) => type.kind === "message");
export const fields: readonly DescField[] = messages.flatMap((message) => message.fields);
export const pathOf = ({ parent, name }: DescMethod): string => `/${parent.typeName}/${name}`;
export const nameOf = ({ parent, name }: DescField): string => `${parent.typeName}.${name}`;

/** Names of the values of an enum. */
export function valuesOf(typeName: string): string[] {
  const found = types.find((type) => type.typeName === typeName);
  return found?.kind === "enum" ? found.values.map(({ name }) => name) : [];
}

/** The message and all that it can hold, at any depth. */
export function within(root: string): DescField[] {
  const seen = new Set<string>();
  const visit = (message: DescMessage): DescField[] => {
    if (seen.has(message.typeName)) return [];
    seen.add(message.typeName);
    return message.fields.flatMap((field) => [field, ...(field.message && own(field.message.typeName) ? visit(field.message) : [])]);
  };
  const message = messages.find(({ typeName }) => typeName === root);
  if (!message) throw new Error(`There is no message ${root}`);
  return visit(message);
}
