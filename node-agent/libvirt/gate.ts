/** Lets a fixed number of calls through at once, in the order in which they came. */
import { HypervisorError } from "./hypervisor.ts";

const WAITING_MAX = 10_000;

export class Gate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(width: number) {
    this.#free = width;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.#enter();
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }

  #enter(): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return Promise.resolve();
    }
    if (this.#waiting.length >= WAITING_MAX) {
      return Promise.reject(new HypervisorError("failed", `Cannot call libvirt: ${WAITING_MAX} calls are waiting already`));
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
