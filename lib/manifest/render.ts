/** Messages to manifests: what `get -o yaml` shows and `apply -f` takes back. Short words, no empty fields, no secrets. */
import { fromBinary, toJson } from "@bufbuild/protobuf";
import type { DescEnum, DescField, DescMessage, JsonObject, JsonValue } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import { API_VERSION } from "./parse.ts";
import { enumWord } from "./names.ts";
import { kindMessage, registry } from "./registry.ts";

const WIDE_INTEGERS = new Set([ScalarType.INT64, ScalarType.UINT64, ScalarType.SINT64, ScalarType.FIXED64, ScalarType.SFIXED64]);

/** A plain object with apiVersion, kind and the fields that are set. `bytes` is the kind's message. */
export function renderManifest(kind: string, bytes: Uint8Array): JsonObject {
  const type = kindMessage(kind);
  const json = toJson(type, fromBinary(type, bytes), { registry: registry() });
  return { apiVersion: API_VERSION, kind, ...(renderMessage(type, json) as JsonObject) };
}

function renderMessage(type: DescMessage, json: JsonValue): JsonValue {
  if (json === null || typeof json !== "object" || Array.isArray(json)) return json; // A timestamp, as text.
  const secret = type.typeName === "drover.v1.SecretValue";
  const entries = Object.entries(json).flatMap(([name, value]) => {
    const field = type.fields.find(({ jsonName }) => jsonName === name);
    // A secret's value is never read back; were one to come, it would not be shown.
    return field && !(secret && name === "value") ? [[name, renderField(field, value)] as const] : [];
  });
  return Object.fromEntries(entries);
}

function renderField(field: DescField, value: JsonValue): JsonValue {
  switch (field.fieldKind) {
    case "message":
      return renderMessage(field.message, value);
    case "enum":
      return renderEnum(field.enum, value);
    case "scalar":
      return renderScalar(field.scalar, value);
    case "map":
      return value;
    case "list":
      return (value as JsonValue[]).map((item) => renderItem(field, item));
  }
}

function renderItem(field: DescField & { fieldKind: "list" }, item: JsonValue): JsonValue {
  if (field.listKind === "message") return renderMessage(field.message, item);
  return field.listKind === "enum" ? renderEnum(field.enum, item) : renderScalar(field.scalar, item);
}

/** A value that a newer server knows and this one does not stays a number. */
function renderEnum(type: DescEnum, value: JsonValue): JsonValue {
  const found = type.values.find(({ name }) => name === value);
  return found ? enumWord(type.typeName, found.localName) : value;
}

/** 64-bit numbers are text in proto JSON; people and programs expect a number where it is exact. */
function renderScalar(type: ScalarType, value: JsonValue): JsonValue {
  if (!WIDE_INTEGERS.has(type) || typeof value !== "string") return value;
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}
