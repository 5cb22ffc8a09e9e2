/** Bytes that are no message of their type: handed on as a value, so that they are refused like every other bad input. */
import { ApiError, InvalidArgument } from "../../lib/errors.ts";

export class Undecodable {
  readonly cause: unknown;
  constructor(cause: unknown) {
    this.cause = cause;
  }
}

export function unreadable(typeName: string, cause: unknown): ApiError {
  // Such as its size: nobody tried to read it.
  if (cause instanceof ApiError) return cause;
  const error = new InvalidArgument([{ path: "request", message: `must be a ${typeName}: its bytes cannot be read as one` }], "UNDECODABLE");
  error.cause = cause;
  return error;
}

type Decode = (...input: never[]) => unknown;
type Method = { requestStream: boolean; requestType: { decode: Decode } };
type Definition = { methods: Record<string, Method> };

/** The same definition; a single request that cannot be decoded arrives as Undecodable. Streams break as they always do. */
export function tolerant<D extends Definition>(definition: D): D {
  const methods = Object.entries(definition.methods).map(([name, method]): [string, Method] => [
    name,
    method.requestStream ? method : { ...method, requestType: { ...method.requestType, decode: decodeOrTell(method.requestType.decode) } },
  ]);
  return { ...definition, methods: Object.fromEntries(methods) as D["methods"] };
}

const decodeOrTell = (decode: Decode): Decode => (...input) => {
  try {
    return decode(...input);
  } catch (cause) {
    return new Undecodable(cause);
  }
};
