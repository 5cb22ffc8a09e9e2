/**
 * What waits to be sent on one session. Messages about one thing share a key, and a newer one takes the older one's
 * place: a slow agent sees the newest state late, and the memory is bounded by what concerns its node.
 */
import type { SessionResponse } from "../../gen/drover/agent/v1/agent.ts";

export type SessionMessage = NonNullable<SessionResponse["message"]>;

export class Outbox implements AsyncIterable<SessionMessage> {
  readonly #waiting = new Map<string, SessionMessage>();
  #wake: (() => void) | undefined;
  #closed = false;
  #error: Error | undefined;

  get closed(): boolean {
    return this.#closed;
  }

  put(key: string, message: SessionMessage): void {
    if (this.#closed) return;
    this.#waiting.set(key, message);
    this.#wake?.();
  }

  /** Ends the session; with an error, the agent is told it. What still waits is dropped: the next session begins in full. */
  close(error?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = error;
    this.#waiting.clear();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<SessionMessage, void, undefined> {
    while (!this.#closed) {
      for (const [key, message] of this.#waiting) {
        this.#waiting.delete(key);
        yield message;
      }
      if (!this.#closed && this.#waiting.size === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    if (this.#error) throw this.#error;
  }
}
