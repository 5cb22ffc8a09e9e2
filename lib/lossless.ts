/**
 * Service definitions whose messages keep what this version does not know: nice-grpc passes all it sends through
 * `fromPartial`, which would drop the fields of a newer peer from every read-modify-write. Callers pass whole messages.
 */

type Codec = { fromPartial?: unknown };
type Method = { requestType: Codec; responseType: Codec };
type Definition = { methods: Record<string, Method> };

const keep = (type: Codec): Codec => ({ ...type, fromPartial: (message: unknown) => message });

/** The same definition with the same types; only the codecs differ. */
export function lossless<D extends Definition>(definition: D): D {
  const methods = Object.entries(definition.methods).map(([name, method]) => [
    name,
    { ...method, requestType: keep(method.requestType), responseType: keep(method.responseType) },
  ]);
  return { ...definition, methods: Object.fromEntries(methods) as D["methods"] };
}
