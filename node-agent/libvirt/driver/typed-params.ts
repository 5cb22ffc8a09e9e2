/** libvirt's typed parameters: built by its own helper, so that no string in them is ours, and decoded from a copy. */
import { parameterType } from "../constants.ts";
import type { Library, Pointer } from "./library.ts";

export type ParameterValue = number | string | boolean;
export type Parameter = { name: string; type: keyof typeof parameterType; value: ParameterValue };

/** struct virTypedParameter: char field[80]; int type; a union of 8 bytes at 88. */
const SIZE_BYTES = 96;
const TYPE_OFFSET = 80;
const VALUE_OFFSET = 88;

/** Owns the array until the end of the block that made it. */
export class TypedParams implements Disposable {
  readonly #library: Library;
  readonly #address: [Pointer | null] = [null];
  readonly #count: [number] = [0];
  readonly #capacity: [number] = [0];

  constructor(library: Library, parameters: readonly Parameter[]) {
    this.#library = library;
    for (const { name, type, value } of parameters) {
      const added = library.local(
        "virTypedParamsAddFromString",
        this.#address, this.#count, this.#capacity, name, parameterType[type], String(value),
      );
      if (added !== 0) throw new RangeError(`Cannot set parameter ${name}: ${String(value)} is no ${type}`);
    }
  }

  get address(): Pointer | null {
    return this.#address[0];
  }

  get count(): number {
    return this.#count[0];
  }

  [Symbol.dispose](): void {
    this.#library.local("virTypedParamsFree", this.#address[0], this.#count[0]);
    this.#address[0] = null;
    this.#count[0] = 0;
  }
}

/** Reads parameters that libvirt owns; numbers beyond 2^53 lose their last bits, which no figure of ours reaches. */
export function readTypedParams(library: Library, address: Pointer | null, count: number): Map<string, ParameterValue> {
  const values = new Map<string, ParameterValue>();
  if (address === null || count === 0) return values;
  const bytes = library.bytes(address, count * SIZE_BYTES);
  for (let start = 0; start < bytes.length; start += SIZE_BYTES) {
    const name = bytes.toString("latin1", start, bytes.indexOf(0, start));
    const value = readValue(library, bytes.subarray(start, start + SIZE_BYTES));
    if (value !== undefined) values.set(name, value);
  }
  return values;
}

function readValue(library: Library, parameter: Buffer): ParameterValue | undefined {
  switch (parameter.readInt32LE(TYPE_OFFSET)) {
    case parameterType.INT: return parameter.readInt32LE(VALUE_OFFSET);
    case parameterType.UINT: return parameter.readUInt32LE(VALUE_OFFSET);
    case parameterType.LLONG: return Number(parameter.readBigInt64LE(VALUE_OFFSET));
    case parameterType.ULLONG: return Number(parameter.readBigUInt64LE(VALUE_OFFSET));
    case parameterType.DOUBLE: return parameter.readDoubleLE(VALUE_OFFSET);
    case parameterType.BOOLEAN: return parameter.readInt8(VALUE_OFFSET) !== 0;
    case parameterType.STRING: return library.string(parameter.readBigUInt64LE(VALUE_OFFSET));
    default: return undefined;
  }
}
