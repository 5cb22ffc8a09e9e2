/** Selectors by field: "status.phase=PHASE_RUNNING,spec.vm_name!=web", paths in the proto's spelling. Pure. */
import { ScalarType } from "@bufbuild/protobuf";
import type { DescEnum, DescField, DescMessage } from "@bufbuild/protobuf";
import { InvalidArgument } from "../../lib/errors.ts";
import { getField, resolvePath } from "./field-paths.ts";

export type FieldMatch = (object: unknown) => boolean;

const TERM = /^([a-z0-9_.]+)\s*(==|=|!=)\s*(.*)$/;

export function parseFieldSelector(text: string, root: DescMessage): FieldMatch {
  if (text.trim() === "") return () => true;
  const terms = text.split(",").map((term) => parseTerm(term.trim(), root));
  return (object) => terms.every((matches) => matches(object));
}

function parseTerm(term: string, root: DescMessage): FieldMatch {
  const match = TERM.exec(term);
  if (!match) throw refused(`cannot read ${JSON.stringify(term)}: expected "path=value" or "path!=value"`);
  const [, path = "", operator, text = ""] = match;
  const fields = resolvePath(root, path);
  const last = fields?.at(-1);
  if (!fields || !last) throw refused(`${JSON.stringify(path)} is no field of ${root.name}`);
  const wanted = parseValue(path, last, text);
  return (object) => {
    const value = fields.reduce<unknown>((message, field) => getField(message, field), object) ?? emptyValue(last);
    return (value === wanted) === (operator !== "!=");
  };
}

type Value = string | number | boolean;

function parseValue(path: string, field: DescField, text: string): Value {
  if (field.fieldKind === "enum") return enumValue(path, field.enum, text);
  if (field.fieldKind !== "scalar") throw refused(`${JSON.stringify(path)} holds more than one value and cannot be compared`);
  if (field.scalar === ScalarType.STRING) return text;
  if (field.scalar === ScalarType.BOOL) {
    if (text !== "true" && text !== "false") throw refused(`${JSON.stringify(path)} must be compared with true or false`);
    return text === "true";
  }
  if (!/^-?\d{1,15}$/.test(text)) throw refused(`${JSON.stringify(path)} must be compared with a whole number`);
  return Number(text);
}

function enumValue(path: string, type: DescEnum, text: string): number {
  const value = type.values.find(({ name }) => name === text);
  if (value) return value.number;
  throw refused(`${JSON.stringify(path)} must be compared with one of ${type.values.map(({ name }) => name).join(", ")}`);
}

/** What an absent field is worth. */
function emptyValue(field: DescField): Value {
  if (field.fieldKind !== "scalar") return 0;
  if (field.scalar === ScalarType.STRING) return "";
  return field.scalar === ScalarType.BOOL ? false : 0;
}

const refused = (message: string) => new InvalidArgument([{ path: "field_selector", message }]);
