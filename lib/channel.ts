/** A bounded queue between one producer side and one consumer: what feeds a stream that somebody may read slowly. */

export class ChannelClosed extends Error {
  override name = "ChannelClosed";
}

/**
 * `push` waits while the queue is full, so a slow reader slows the writer and never grows the memory. Iterate it once.
 * `close` lets the reader take what is left; with an error the reader then sees that error.
 */
export class Channel<T> implements AsyncIterable<T> {
  readonly #limit: number;
  readonly #items: T[] = [];
  #closed = false;
  #error: Error | undefined;
  #wakeReader: (() => void) | undefined;
  #wakeWriters: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get length(): number {
    return this.#items.length;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** False when the queue is full or closed: for producers that would rather collapse than wait. */
  offer(item: T): boolean {
    if (this.#closed || this.#items.length >= this.#limit) return false;
    this.#items.push(item);
    this.#wakeReader?.();
    return true;
  }

  /** Rejects with ChannelClosed when the reader has gone. */
  async push(item: T): Promise<void> {
    while (!this.offer(item)) {
      if (this.#closed) throw new ChannelClosed("Cannot push as the channel is closed", { cause: this.#error });
      await new Promise<void>((resolve) => this.#wakeWriters.push(resolve));
    }
  }

  /** What waits, up to so many, for a reader that takes several at once. */
  take(max: number): T[] {
    const taken = this.#items.splice(0, max);
    this.#releaseWriters();
    return taken;
  }

  close(error?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error;
    this.#wakeReader?.();
    this.#releaseWriters();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    try {
      for (;;) {
        while (this.#items.length > 0) {
          const item = this.#items.shift()!;
          this.#releaseWriters();
          yield item;
        }
        if (this.#closed) break;
        await new Promise<void>((resolve) => (this.#wakeReader = resolve));
        this.#wakeReader = undefined;
      }
      if (this.#error) throw this.#error;
    } finally {
      this.close();
    }
  }

  #releaseWriters(): void {
    const writers = this.#wakeWriters;
    this.#wakeWriters = [];
    for (const wake of writers) wake();
  }
}
