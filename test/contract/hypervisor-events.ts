/** Reads a hypervisor's events for a test, from the start and to the end, and waits for those it expects. */
import assert from "node:assert/strict";
import { systemClock } from "../../lib/clock.ts";
import type { Hypervisor, HypervisorEvent } from "../../node-agent/libvirt/hypervisor.ts";

type Match = (event: HypervisorEvent) => boolean;

export class RecordedEvents {
  readonly all: HypervisorEvent[] = [];
  readonly #stop = new AbortController();
  readonly #reading: Promise<void>;
  #checks: (() => void)[] = [];

  constructor(hypervisor: Hypervisor) {
    this.#reading = this.#read(hypervisor);
  }

  /** The first matching event at or after `from`, a position in `all`. */
  next(what: string, match: Match, { from = 0, timeoutMs = 10_000 } = {}): Promise<HypervisorEvent> {
    return new Promise((resolve, reject) => {
      const timer = systemClock.after(timeoutMs, () => {
        reject(new assert.AssertionError({ message: `No event "${what}" among ${JSON.stringify(this.all.slice(from))}` }));
      });
      const check = () => {
        const found = this.all.slice(from).find(match);
        if (found === undefined) return;
        timer.cancel();
        this.#checks = this.#checks.filter((one) => one !== check);
        resolve(found);
      };
      this.#checks.push(check);
      check();
    });
  }

  lifecycleOf(uuid: string): string[] {
    return this.all.flatMap((event) => (event.type === "lifecycle" && event.uuid === uuid ? [event.event] : []));
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#reading;
  }

  async #read(hypervisor: Hypervisor): Promise<void> {
    for await (const event of hypervisor.events(this.#stop.signal)) {
      this.all.push(event);
      for (const check of this.#checks) check();
    }
  }
}
