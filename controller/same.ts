/** Whether two values say the same, cheaply where they share most of their parts, as a record and its next version do. Pure. */

/** Whether two messages of one type have the same bytes on the wire. */
export function sameMessage<T>(codec: { encode(message: T): { finish(): Uint8Array } }, a: T, b: T): boolean {
  return sameValue(a, b) || Buffer.compare(codec.encode(a).finish(), codec.encode(b).finish()) === 0;
}

/** Never true for values that differ; what differs only in how it is held, such as an absent and an empty field, is told apart. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, index) => sameValue(item, b[index]));
  }
  if (a instanceof Date && b instanceof Date) return a.getTime() === b.getTime();
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  return isPlain(a) && isPlain(b) && sameFields(a, b);
}

const isPlain = (value: object): value is Record<string, unknown> => {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
};

function sameFields(a: Record<string, unknown>, b: Record<string, unknown>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && sameValue(a[key], b[key]));
}
