/**
 * The form of a revision: `<incarnation>.<number>`. Numbers are exact up to 2^53, which at 25,000 commits a second last
 * 11,000 years; whatever is longer is refused instead of rounded.
 */
import type { Clock } from "../../lib/clock.ts";
import type { Random } from "../../lib/random.ts";
import type { Revision } from "./store.ts";

const FORM = /^([0-9a-z]{1,64})\.(0|[1-9][0-9]{0,15})$/;

export function formatRevision(incarnation: string, number: number): Revision {
  return `${incarnation}.${number}`;
}

/** Undefined for whatever no store ever wrote. */
export function parseRevision(revision: Revision): { incarnation: string; number: number } | undefined {
  const [, incarnation, digits] = FORM.exec(revision) ?? [];
  const number = Number(digits);
  if (incarnation === undefined || !Number.isSafeInteger(number)) return undefined;
  return { incarnation, number };
}

/** The number of a revision of this incarnation; undefined for a malformed or foreign one. */
export function numberOf(revision: Revision, incarnation: string): number | undefined {
  const parsed = parseRevision(revision);
  return parsed?.incarnation === incarnation ? parsed.number : undefined;
}

/** Negative when `a` is older. Throws for two that have no order, so that no caller takes them for equal. */
export function compareRevisions(a: Revision, b: Revision): number {
  const [left, right] = [parseRevision(a), parseRevision(b)];
  if (left === undefined || right === undefined || left.incarnation !== right.incarnation) {
    throw new RangeError(`Cannot compare revisions "${a}" and "${b}": they are not of one store`);
  }
  return left.number - right.number;
}

/**
 * Who a new store is. Incarnations are ordered as text by the time they were made, so that an agent can tell a newer one
 * from an older one; the random end keeps two made in one millisecond apart.
 */
export function newIdentity(clock: Clock, random: Random): { storeId: string; incarnation: string } {
  const madeAt = clock.now().getTime().toString(36).padStart(9, "0");
  return { storeId: random.uuid(), incarnation: madeAt + random.token(4) };
}
