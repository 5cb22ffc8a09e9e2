/** What the interceptors know of each RPC's request, from the definitions and the API's own description. */
import type { DescField } from "@bufbuild/protobuf";
import type { CompatServiceDefinition } from "nice-grpc";
import type { RequestShape } from "../validate/request.ts";
import type { Schema } from "../validate/schema.ts";

/** `repeatable`: the request has a request_id. */
export type Shape = RequestShape & { repeatable: boolean; streaming: boolean };

type Codec = { encode(message: unknown): { finish(): Uint8Array } };
type Method = { name: string; requestType: Codec; requestStream: boolean };
type Definition = { fullName: string; methods: Record<string, Method> };

/** By path, such as "/drover.v1.NamespaceService/ListNamespaces". */
export function shapesOf(definitions: readonly CompatServiceDefinition[], schema: Schema): Map<string, Shape> {
  const shapes = new Map<string, Shape>();
  for (const { fullName, methods } of definitions as unknown as Definition[]) {
    for (const { name, requestType, requestStream } of Object.values(methods)) {
      const typeName = `${fullName.slice(0, fullName.lastIndexOf("."))}.${name}Request`;
      const { fields } = schema.message(typeName);
      const object = fields.find(isObject);
      shapes.set(`/${fullName}/${name}`, {
        typeName,
        encode: (request) => requestType.encode(request).finish(),
        repeatable: fields.some((field) => field.name === "request_id"),
        streaming: requestStream,
        ...(object && { object: { field: object.name, key: object.localName } }),
      });
    }
  }
  return shapes;
}

function isObject(field: DescField): boolean {
  return field.fieldKind === "message" && field.message.fields.some(({ name, message }) => name === "metadata" && message?.typeName === "drover.v1.ObjectMeta");
}
