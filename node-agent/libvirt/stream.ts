/**
 * The agent's end of a console that the driver child holds open. Both directions are bounded: the child sends no more
 * than it was given credit for, and what is typed waits until the guest has taken what came before.
 */
import type { ConsoleStream } from "./hypervisor.ts";
import { HypervisorError } from "./hypervisor.ts";
import type { StreamRequest } from "./protocol.ts";

/** What the child may send ahead of the reader. */
export const READ_WINDOW_BYTES = 256 * 1024;
/** What the writer may send ahead of the guest. */
export const WRITE_WINDOW_BYTES = 16 * 1024;

export class DriverStream implements ConsoleStream {
  readonly #send: (request: StreamRequest) => void;
  readonly #chunks: Uint8Array[] = [];
  #roomBytes = WRITE_WINDOW_BYTES;
  #end: { error?: Error } | undefined;
  #wakeReader: () => void = () => undefined;
  #wakeWriter: () => void = () => undefined;

  constructor(send: (request: StreamRequest) => void) {
    this.#send = send;
  }

  async *read(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk) {
        this.#send({ do: "credit", bytes: chunk.length });
        yield chunk;
      } else if (this.#end) {
        if (this.#end.error) throw this.#end.error;
        return;
      } else await new Promise<void>((resolve) => (this.#wakeReader = resolve));
    }
  }

  async write(data: Uint8Array): Promise<void> {
    for (let rest = data; rest.length > 0; ) {
      if (this.#end) throw this.#end.error ?? new HypervisorError("invalid-state", "Cannot write to the console: it is closed");
      const piece = rest.subarray(0, this.#roomBytes);
      rest = rest.subarray(piece.length);
      this.#roomBytes -= piece.length;
      if (piece.length > 0) this.#send({ do: "write", data: piece });
      else await new Promise<void>((resolve) => (this.#wakeWriter = resolve));
    }
  }

  close(): void {
    if (!this.#end) this.#send({ do: "close" });
    this.ended();
  }

  received(data: Uint8Array): void {
    this.#chunks.push(data);
    this.#wakeReader();
  }

  written(bytes: number): void {
    this.#roomBytes += bytes;
    this.#wakeWriter();
  }

  /** What has come before is still read. */
  ended(error?: Error): void {
    this.#end ??= error ? { error } : {};
    this.#wakeReader();
    this.#wakeWriter();
  }
}
