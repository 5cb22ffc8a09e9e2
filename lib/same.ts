/** Whether two messages say the same, cheaply where they share most of their parts, as a record and its next version do. Pure. */

/** Decoded and made messages alike: an absent field is an undefined one, and maps have no order. */
export function sameMessage(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, index) => sameMessage(item, b[index]));
  }
  if (a instanceof Date && b instanceof Date) return a.getTime() === b.getTime();
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  return isPlain(a) && isPlain(b) && holds(a, b) && Object.keys(b).every((key) => Object.hasOwn(a, key) || saysNothing(key, b[key]));
}

const isPlain = (value: object): value is Record<string, unknown> => {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
};

/** Whether each field of `a` is in `b`. */
function holds(a: Record<string, unknown>, b: Record<string, unknown>): boolean {
  return Object.keys(a).every((key) => {
    const [own, other] = [a[key], Object.hasOwn(b, key) ? b[key] : undefined];
    return sameMessage(own, other) || (saysNothing(key, own) && saysNothing(key, other));
  });
}

const saysNothing = (key: string, value: unknown): boolean => value === undefined || (key === "_unknownFields" && isEmpty(value));

const isEmpty = (value: unknown) => typeof value === "object" && value !== null && Object.keys(value).length === 0;
