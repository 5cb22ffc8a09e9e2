/** Enumerations grow: a newer peer's value arrives as a bare number, and nothing may be decided on it. Pure. */

export function isKnown<V extends number>(enumeration: Record<string, V | number>, value: number): boolean {
  return value >= 0 && Object.values(enumeration).includes(value);
}
