/**
 * One YAML tree against one message of the proto: gives proto JSON and notes every fault with its place. Strict where a
 * guess could change a machine: unknown keys, types, ranges; exact where YAML would round.
 */
import { ScalarType } from "@bufbuild/protobuf";
import type { DescEnum, DescField, DescMessage, JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isMap, isScalar, isSeq } from "yaml";
import type { Node, Scalar, YAMLMap } from "yaml";
import { hintFor } from "./hints.ts";
import { enumWord, nearest } from "./names.ts";
import type { Source } from "./source.ts";

/** String fields that hold a Kubernetes quantity: a bare YAML number is taken as it was written. */
const QUANTITIES = new Set([
  "drover.v1.MemorySpec.guest", "drover.v1.PoolDisk.size", "drover.v1.EmptyDisk.capacity", "drover.v1.NodeSpec.max_memory",
  "drover.v1.MigrationSettings.bandwidth_per_migration", "drover.v1.MigrationPolicySpec.bandwidth_per_migration",
]);

const INTEGERS: Partial<Record<ScalarType, readonly [bigint, bigint]>> = {
  [ScalarType.INT32]: [-(2n ** 31n), 2n ** 31n - 1n],
  [ScalarType.UINT32]: [0n, 2n ** 32n - 1n],
  [ScalarType.INT64]: [-(2n ** 63n), 2n ** 63n - 1n],
  [ScalarType.UINT64]: [0n, 2n ** 64n - 1n],
};

const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;

/** Where the reader stands: the node, and the path that people read. */
type Place = { source: Source; node: unknown; path: string };

export type MessageOptions = { skip?: ReadonlySet<string> };

/** Keys in `skip` are accepted and left out. Null stands for an absent field, as in Kubernetes. */
export function readMessage(type: DescMessage, place: Place, { skip = new Set() }: MessageOptions = {}): JsonObject | undefined {
  const { source, path } = place;
  const node = source.resolve(place.node);
  if (!isMap(node)) return note(place, "must be a mapping of fields");
  const result: JsonObject = {};
  const chosen = new Map<string, string>();
  for (const { key, value } of node.items) {
    const name = keyText({ source, node: key, path });
    if (name === undefined || skip.has(name)) continue;
    const field = type.fields.find(({ jsonName }) => jsonName === name);
    const at = { source, node: value ?? key, path: join(path, name) };
    if (!field) source.note(key, at.path, unknownField(type, name));
    else if (!isNull(source.resolve(value))) {
      checkOneof(field, chosen, { ...at, node: key });
      const read = readField(field, at);
      if (read !== undefined) result[name] = read;
    }
  }
  return result;
}

const join = (path: string, name: string) => (path === "" ? name : `${path}.${name}`);
const isNull = (node: Node | undefined) => node === undefined || (isScalar(node) && node.value === null);

function note({ source, node, path }: Place, message: string): undefined {
  return source.note(node, path, message);
}

function keyText(place: Place): string | undefined {
  const key = place.source.resolve(place.node);
  if (isScalar(key) && typeof key.value === "string") return key.value;
  return note({ ...place, node: key }, "keys must be strings: put it in quotes");
}

function unknownField(type: DescMessage, name: string): string {
  const hint = hintFor(name);
  if (hint !== undefined) return hint;
  const allowed = type.fields.map(({ jsonName }) => jsonName);
  const near = nearest(name, allowed);
  const choices = allowed.length === 0 ? "no fields are allowed here" : `allowed here: ${allowed.join(", ")}`;
  return `unknown field${near === undefined ? "" : `, did you mean "${near}"?`}; ${choices}`;
}

/** Of a oneof's fields a file may name one. */
function checkOneof(field: DescField, chosen: Map<string, string>, place: Place): void {
  if (!field.oneof) return;
  const before = chosen.get(field.oneof.name);
  if (before !== undefined) {
    const names = field.oneof.fields.map(({ jsonName }) => jsonName).join(", ");
    note(place, `only one of ${names} is allowed, and "${before}" stands here already`);
  }
  chosen.set(field.oneof.name, field.jsonName);
}

function readField(field: DescField, place: Place): JsonValue | undefined {
  switch (field.fieldKind) {
    case "list":
      return readList(field, place);
    case "map":
      return readMap(place);
    case "message":
      return readNested(field.message, place);
    case "enum":
      return readEnum(field.enum, place);
    case "scalar":
      return readScalar(field, field.scalar, place);
  }
}

function readList(field: DescField & { fieldKind: "list" }, place: Place): JsonValue | undefined {
  const node = place.source.resolve(place.node);
  if (!isSeq(node)) return note(place, "must be a list");
  const items = node.items.map((item, index) => {
    const at = { ...place, node: item, path: `${place.path}[${index}]` };
    if (isNull(place.source.resolve(item))) return note(at, "must not be empty");
    if (field.listKind === "message") return readNested(field.message, at);
    return field.listKind === "enum" ? readEnum(field.enum, at) : readScalar(field, field.scalar, at);
  });
  return items.filter((item) => item !== undefined);
}

/** The API's maps are all of strings to strings. */
function readMap(place: Place): JsonValue | undefined {
  const node = place.source.resolve(place.node);
  if (!isMap(node)) return note(place, "must be a mapping of strings");
  const result: JsonObject = {};
  for (const { key, value } of (node as YAMLMap).items) {
    const name = keyText({ ...place, node: key });
    if (name === undefined) continue;
    const text = readString({ ...place, node: value ?? key, path: `${place.path}[${JSON.stringify(name)}]` });
    if (text !== undefined) Object.defineProperty(result, name, { value: text, enumerable: true });
  }
  return result;
}

function readNested(type: DescMessage, place: Place): JsonValue | undefined {
  const node = place.source.resolve(place.node);
  if (type.typeName === "drover.v1.SecretValue" && isScalar(node)) {
    const value = readString(place);
    return value === undefined ? undefined : { value };
  }
  if (type.typeName !== "google.protobuf.Timestamp") return readMessage(type, place);
  const text = isScalar(node) && typeof node.value === "string" ? node.value : "";
  return RFC3339.test(text) && !Number.isNaN(Date.parse(text)) ? text : note(place, 'must be a time such as "2026-01-31T12:00:00Z"');
}

function readEnum(type: DescEnum, place: Place): JsonValue | undefined {
  const node = place.source.resolve(place.node);
  const values = type.values.map(({ name, localName }) => ({ name, word: enumWord(type.typeName, localName) }));
  const found = isScalar(node) && values.find(({ name, word }) => node.value === word || node.value === name);
  if (found) return found.name;
  const words = values.slice(1).map(({ word }) => word);
  return note(place, `must be one of ${words.join(", ")}: it is ${shown(node)}`);
}

function readScalar(field: DescField, type: ScalarType, place: Place): JsonValue | undefined {
  const range = INTEGERS[type];
  if (range) return readInteger(place, range);
  if (type === ScalarType.BOOL) return readBool(place);
  if (type !== ScalarType.STRING) return note(place, "cannot be written in a manifest");
  return QUANTITIES.has(`${field.parent.typeName}.${field.name}`) ? readQuantity(place) : readString(place);
}

function readInteger(place: Place, [min, max]: readonly [bigint, bigint]): JsonValue | undefined {
  const node = place.source.resolve(place.node);
  const text = isScalar(node) && typeof node.value === "number" ? sourceText(node) : "";
  if (!/^[+-]?\d{1,40}$/.test(text)) return note(place, `must be a whole number from ${min} to ${max}: it is ${shown(node)}`);
  const value = BigInt(text.replace("+", ""));
  return value >= min && value <= max ? value.toString() : note(place, `must be from ${min} to ${max}: it is ${text}`);
}

function readBool(place: Place): JsonValue | undefined {
  const node = place.source.resolve(place.node);
  return isScalar(node) && typeof node.value === "boolean" ? node.value : note(place, `must be true or false: it is ${shown(node)}`);
}

function readString(place: Place): string | undefined {
  const node = place.source.resolve(place.node);
  if (isScalar(node) && typeof node.value === "string") return node.value;
  const plain = isScalar(node) && node.value !== null;
  return note(place, plain ? `must be a string: put ${sourceText(node)} in quotes` : "must be a string");
}

function readQuantity(place: Place): string | undefined {
  const node = place.source.resolve(place.node);
  return isScalar(node) && typeof node.value === "number" ? sourceText(node) : readString(place);
}

/** What was written, before YAML made a float of it. */
const sourceText = (node: Scalar) => node.source ?? String(node.value);

function shown(node: Node | undefined): string {
  if (!isScalar(node)) return isSeq(node) ? "a list" : "a mapping";
  return typeof node.value === "string" ? JSON.stringify(node.value.slice(0, 100)) : sourceText(node).slice(0, 100);
}
