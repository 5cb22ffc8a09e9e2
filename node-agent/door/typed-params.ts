/** libvirt's lists of named values, as they are passed between daemons (pure). */
import { XdrFault, xdr } from "./xdr.ts";
import type { XdrReader } from "./xdr.ts";

const type = { INT: 1, UINT: 2, LLONG: 3, ULLONG: 4, DOUBLE: 5, BOOLEAN: 6, STRING: 7 } as const;
const COUNT_MAX = 64;

/** A string, or a number in its encoded form, which nobody here reads. */
export type RpcParameter = { name: string; value: string } | { name: string; type: number; encoded: Buffer };

export function readParameters(reader: XdrReader): RpcParameter[] {
  const count = reader.uint();
  if (count > COUNT_MAX) throw new XdrFault(`${count} parameters are not taken`);
  return Array.from({ length: count }, () => readParameter(reader));
}

function readParameter(reader: XdrReader): RpcParameter {
  const name = reader.string();
  const kind = reader.uint();
  switch (kind) {
    case type.INT:
    case type.UINT:
    case type.BOOLEAN:
      return { name, type: kind, encoded: xdr.uint(reader.uint()) };
    case type.LLONG:
    case type.ULLONG:
    case type.DOUBLE:
      return { name, type: kind, encoded: reader.hyper() };
    case type.STRING:
      return { name, value: reader.string() };
    default:
      throw new XdrFault(`A parameter has the unknown type ${kind}`);
  }
}

export function writeParameters(parameters: readonly RpcParameter[]): Buffer {
  return Buffer.concat([xdr.uint(parameters.length), ...parameters.map(writeParameter)]);
}

function writeParameter(parameter: RpcParameter): Buffer {
  const value = "value" in parameter
    ? [xdr.uint(type.STRING), xdr.string(parameter.value)]
    : [xdr.uint(parameter.type), parameter.encoded];
  return Buffer.concat([xdr.string(parameter.name), ...value]);
}
