/** Which sessions have renewed in time. In memory only: a stalled disk never makes a node look silent. */
import type { Clock, Timer } from "../../lib/clock.ts";

type Lease = { sessionId: string; untilMs: number; timer: Timer };

export class Leases {
  readonly leaseMs: number;
  readonly #clock: Clock;
  readonly #expired: (node: string, sessionId: string) => void;
  readonly #leases = new Map<string, Lease>();

  constructor({ clock, leaseMs, expired }: { clock: Clock; leaseMs: number; expired: (node: string, sessionId: string) => void }) {
    this.leaseMs = leaseMs;
    this.#clock = clock;
    this.#expired = expired;
  }

  /** Takes the place of the node's lease before. */
  grant(node: string, sessionId: string): void {
    this.#leases.get(node)?.timer.cancel();
    const lease = { sessionId, untilMs: this.#clock.monotonicMs() + this.leaseMs, timer: this.#arm(node, this.leaseMs) };
    this.#leases.set(node, lease);
  }

  /** False when the lease is another session's, or ran out. */
  renew(node: string, sessionId: string): boolean {
    const lease = this.#leases.get(node);
    if (lease?.sessionId !== sessionId) return false;
    lease.untilMs = this.#clock.monotonicMs() + this.leaseMs;
    return true;
  }

  holds(node: string, sessionId: string): boolean {
    return this.#leases.get(node)?.sessionId === sessionId;
  }

  /** Forgets a lease that never came to a session. */
  revoke(node: string, sessionId: string): void {
    if (!this.holds(node, sessionId)) return;
    this.#leases.get(node)!.timer.cancel();
    this.#leases.delete(node);
  }

  close(): void {
    for (const { timer } of this.#leases.values()) timer.cancel();
    this.#leases.clear();
  }

  #arm(node: string, delayMs: number): Timer {
    return this.#clock.after(delayMs, () => this.#check(node));
  }

  /** A renewal only moves the end, so that it costs no timer; the timer finds out here. */
  #check(node: string): void {
    const lease = this.#leases.get(node);
    if (!lease) return;
    const leftMs = lease.untilMs - this.#clock.monotonicMs();
    if (leftMs > 0) {
      lease.timer = this.#arm(node, leftMs);
      return;
    }
    this.#leases.delete(node);
    this.#expired(node, lease.sessionId);
  }
}
