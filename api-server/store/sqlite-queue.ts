/**
 * Group commit: whatever waits when the writer is free goes to it as one batch, and so pays one fsync together.
 */
import type { Outcome, WireWrite } from "./sqlite-protocol.ts";
import { StoreFull } from "./store.ts";

type Waiting = { write: WireWrite; resolve: (outcome: Outcome) => void; reject: (error: unknown) => void };
/** `commit` writes one batch; `announce` hears of its outcomes before any waiting caller does. */
export type QueueOptions = {
  commit: (writes: WireWrite[]) => Promise<Outcome[]>;
  announce: (writes: WireWrite[], outcomes: Outcome[]) => void;
};

const BATCH_WRITES_MAX = 512;
const BATCH_BYTES_MAX = 8 * 1024 * 1024;
const WAITING_MAX = 10_000;

export class WriteQueue {
  readonly #options: QueueOptions;
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  add(write: WireWrite): Promise<Outcome> {
    if (this.#waiting.length >= WAITING_MAX) {
      return Promise.reject(new StoreFull(`Cannot write: ${WAITING_MAX} writes already wait for the disk`));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ write, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when nothing waits or runs. */
  async drained(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      // The callers of the last batch get their turn, so that their next writes are in this one.
      await new Promise((resolve) => setImmediate(resolve));
      await this.#commitBatch(this.#waiting.splice(0, batchLength(this.#waiting)));
    }
    this.#running = undefined;
  }

  async #commitBatch(batch: Waiting[]): Promise<void> {
    const writes = batch.map(({ write }) => write);
    try {
      const outcomes = await this.#options.commit(writes);
      this.#options.announce(writes, outcomes);
      batch.forEach(({ resolve }, index) => resolve(outcomes[index]!));
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}

/** At least one, however large. */
function batchLength(waiting: readonly Waiting[]): number {
  let bytes = 0;
  let length = 0;
  while (length < Math.min(waiting.length, BATCH_WRITES_MAX) && bytes < BATCH_BYTES_MAX) {
    bytes += waiting[length++]!.write.value?.length ?? 0;
  }
  return length;
}
