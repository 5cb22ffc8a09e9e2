/** How long certificates live and when they are renewed. Pure. */
import type { Random } from "../random.ts";

export const CERTIFICATE_MS = 24 * 3_600_000;
const HALF = 0.5;
const JITTER = 0.1;

export type Lifetime = { notBefore: Date; notAfter: Date };

/** Milliseconds from now until a certificate shall be renewed: at half of its life, give or take a tenth of that; 0 when that is over. */
export function renewalInMs({ notBefore, notAfter }: Lifetime, now: Date, random: Random): number {
  const lifeMs = notAfter.getTime() - notBefore.getTime();
  const share = HALF * (1 + JITTER * (2 * random.fraction() - 1));
  return Math.max(0, notBefore.getTime() + lifeMs * share - now.getTime());
}
