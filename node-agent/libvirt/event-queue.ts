/**
 * Events between the driver and their one consumer. When the consumer falls too far behind they are replaced by one
 * "connected", which means what has then become true: events were lost, list again.
 */
import type { HypervisorEvent } from "./hypervisor.ts";

const PENDING_MAX = 100_000;

export class EventQueue {
  #pending: HypervisorEvent[] = [];
  #wake: () => void = () => undefined;
  #ended = false;
  #generation = 0;

  push(event: HypervisorEvent): void {
    if (event.type === "connected") this.#generation = event.generation;
    if (this.#pending.length < PENDING_MAX) this.#pending.push(event);
    else this.#pending = [{ type: "connected", generation: this.#generation }];
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *read(signal: AbortSignal): AsyncGenerator<HypervisorEvent> {
    const wake = () => this.#wake();
    signal.addEventListener("abort", wake, { once: true });
    try {
      while (!signal.aborted) {
        const batch = this.#pending;
        this.#pending = [];
        yield* batch;
        if (this.#pending.length > 0) continue;
        if (this.#ended || signal.aborted) return;
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }
}
