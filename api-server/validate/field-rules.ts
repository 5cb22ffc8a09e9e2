/** The rules that the proto states about single fields, and what holds of every text. Answers every fault with its path. */
import { fromBinary, ScalarType } from "@bufbuild/protobuf";
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";
import type { Fault } from "../../lib/errors.ts";
import type { Schema } from "./schema.ts";
import { unreadable } from "./undecodable.ts";

export interface FieldRules {
  /** Faults of a message, given as its bytes. Paths from the message's root. */
  check(typeName: string, bytes: Uint8Array): Fault[];
}

/** Texts that may have lines; all others are refused with any control character in them. */
const LINES_ALLOWED: ReadonlySet<string> = new Set([
  "drover.v1.SecretValue.value",
  "drover.v1.Event.message",
  "drover.v1.ConfirmFencedRequest.reason",
  "drover.v1.SignUserCertificateRequest.csr_pem",
  "drover.v1.ObjectMeta.annotations",
  ...["EnrollRequest", "RenewCertificateRequest"].flatMap((request) => [`drover.agent.v1.${request}.csr_pem`, `drover.agent.v1.${request}.migration_csr_pem`]),
]);

// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
// eslint-disable-next-line no-control-regex
const CONTROL_BUT_LINES = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/;

export function fieldRules(schema: Schema): FieldRules {
  const validator = createValidator();
  const check = (typeName: string, bytes: Uint8Array): Fault[] => {
    const descriptor = schema.message(typeName);
    const message = parsed(descriptor, bytes);
    const result = validator.validate(descriptor, message);
    if (result.kind === "error") throw result.error;
    const violations = result.violations ?? [];
    return [
      ...violations.map((violation) => ({ path: pathToString(violation.field), message: violation.message })),
      ...controlCharacters(descriptor, message, ""),
    ];
  };
  // Most requests say nothing beside their object, which is checked apart.
  const ofNothing = new Map<string, Fault[]>();
  return {
    check(typeName, bytes) {
      if (bytes.length > 0) return check(typeName, bytes);
      const faults = ofNothing.get(typeName) ?? check(typeName, bytes);
      ofNothing.set(typeName, faults);
      return [...faults];
    },
  };
}

/** The generated decoder lets a field of another wire type pass as an unknown one; here it is none of the message. */
function parsed(descriptor: DescMessage, bytes: Uint8Array): ReturnType<typeof fromBinary> {
  try {
    return fromBinary(descriptor, bytes);
  } catch (cause) {
    throw unreadable(descriptor.typeName, cause);
  }
}

type Fields = Record<string, unknown>;

/** Walks by the descriptor, so that paths are the proto's. */
function controlCharacters(descriptor: DescMessage, message: unknown, path: string): Fault[] {
  return descriptor.fields.flatMap((field) => {
    const value = valueOf(message as Fields, field);
    if (value === undefined || descriptor.typeName.startsWith("google.protobuf.")) return [];
    return fieldFaults(field, value, path === "" ? field.name : `${path}.${field.name}`);
  });
}

function valueOf(message: Fields, field: DescField): unknown {
  if (field.oneof === undefined) return message[field.localName];
  const chosen = message[field.oneof.localName] as { case?: string; value?: unknown } | undefined;
  return chosen?.case === field.localName ? chosen.value : undefined;
}

function fieldFaults(field: DescField, value: unknown, path: string): Fault[] {
  const name = `${field.parent.typeName}.${field.name}`;
  const forbidden = LINES_ALLOWED.has(name) ? CONTROL_BUT_LINES : CONTROL;
  switch (field.fieldKind) {
    case "message":
      return controlCharacters(field.message, value, path);
    case "scalar":
      return field.scalar === ScalarType.STRING ? textFaults(value as string, path, forbidden) : [];
    case "list":
      return (value as unknown[]).flatMap((item, i) => {
        if (field.listKind === "message") return controlCharacters(field.message, item, `${path}[${i}]`);
        return typeof item === "string" ? textFaults(item, `${path}[${i}]`, forbidden) : [];
      });
    case "map":
      return Object.entries(value as Fields).flatMap(([key, item]) => [
        ...textFaults(key, `${path}[${JSON.stringify(key)}]`, CONTROL),
        ...(typeof item === "string" ? textFaults(item, `${path}[${JSON.stringify(key)}]`, forbidden) : []),
      ]);
    case "enum":
      return [];
  }
}

function textFaults(text: string, path: string, forbidden: RegExp): Fault[] {
  return forbidden.test(text) ? [{ path, message: "must not contain control characters" }] : [];
}
