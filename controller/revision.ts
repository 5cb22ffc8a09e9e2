/** Order among revisions of one store, `<incarnation>.<n>`; all that the controller may read out of the opaque string. */

export type Position = { incarnation: string; number: number };

const FORM = /^(.+)\.(\d{1,16})$/;

/** Undefined for what is empty or malformed. */
export function positionOf(revision: string): Position | undefined {
  const match = FORM.exec(revision);
  const number = Number(match?.[2]);
  return match?.[1] !== undefined && Number.isSafeInteger(number) ? { incarnation: match[1], number } : undefined;
}

/** Whether `a` is of the same store and later than `b`; anything is later than nothing. */
export function isLater(a: Position | undefined, b: Position | undefined): boolean {
  if (a === undefined) return false;
  return b === undefined || (a.incarnation === b.incarnation && a.number > b.number);
}
