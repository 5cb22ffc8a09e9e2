/** Delays between attempts, pure: the caller brings the attempt's number and the chance. */

export type Backoff = { firstMs: number; maxMs: number; factor: number };

/** Full jitter over the upper half, so that a crowd spreads out and nobody retries at once. `attempt` counts from 1. */
export function backoffMs({ firstMs, maxMs, factor }: Backoff, attempt: number, fraction: number): number {
  const ceiling = Math.min(maxMs, firstMs * factor ** Math.min(attempt - 1, 32));
  return ceiling / 2 + (ceiling / 2) * fraction;
}

export const RECONNECT: Backoff = { firstMs: 100, maxMs: 5_000, factor: 2 };
export const RETRY: Backoff = { firstMs: 20, maxMs: 30_000, factor: 2 };
