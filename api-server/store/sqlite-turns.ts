/**
 * One at a time, with a turn of the event loop between two: many who each go through much data leave room for what keeps
 * connections alive, and find in memory what the one before them had read.
 */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  async take<T>(run: () => T | Promise<T>): Promise<T> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    await before;
    try {
      return await run();
    } finally {
      setImmediate(resolve);
    }
  }
}
