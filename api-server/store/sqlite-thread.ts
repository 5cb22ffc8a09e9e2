/** Calls into a worker thread and their answers: both ends of the wire that `sqlite-protocol.ts` describes. */
import { parentPort, Worker } from "node:worker_threads";
import type { Failure, FailureKind } from "./sqlite-protocol.ts";
import { DataLoss, StoreClosed, StoreFull, StoreInUse, StoreRefused } from "./store.ts";

type Calls = Record<string, { input: unknown; output: unknown }>;
type Request = { id: number; name: string; input: unknown };
type Answer = { id: number; output?: unknown; failure?: Failure };
type Pending = { resolve: (output: unknown) => void; reject: (error: Error) => void };

/** The disk gave an error where only success or a full disk leave a known state. */
export class DiskFailure extends Error {
  override name = "DiskFailure";
}

export class Thread<C extends { [K in keyof C]: { input: unknown; output: unknown } }> {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #sequence = 0;
  #ended: Error | undefined;

  /** `onEnd` hears of an end that nobody asked for. */
  constructor(entry: URL, workerData: unknown, onEnd: (error: Error) => void) {
    this.#worker = new Worker(entry, { workerData });
    this.#worker.on("message", (answer: Answer) => this.#settle(answer));
    this.#worker.on("error", (cause) => this.#end(new DiskFailure("A thread of the store failed", { cause }), onEnd));
    this.#worker.on("exit", () => this.#end(new DiskFailure("A thread of the store ended by itself"), onEnd));
  }

  call<K extends keyof C & string>(name: K, input: C[K]["input"]): Promise<C[K]["output"]> {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = ++this.#sequence;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a browser's window.
      this.#worker.postMessage({ id, name, input } satisfies Request);
    });
  }

  async stop(): Promise<void> {
    this.#ended ??= new StoreClosed("The store is closed");
    await this.#worker.terminate();
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }

  #settle({ id, output, failure }: Answer): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (failure) pending?.reject(errorOf(failure));
    else pending?.resolve(output);
  }

  #end(error: Error, onEnd: (error: Error) => void): void {
    if (this.#ended) return;
    this.#ended = error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    onEnd(error);
  }
}

/** The worker's end: answers each message by the handler of its name, in the order of arrival. */
export function answer<C extends Calls>(handlers: { [K in keyof C]: (input: C[K]["input"]) => C[K]["output"] }): void {
  const port = parentPort!;
  port.on("message", ({ id, name, input }: Request) => {
    try {
      port.postMessage({ id, output: handlers[name]!(input) } satisfies Answer);
    } catch (error) {
      port.postMessage({ id, failure: failureOf(error) } satisfies Answer);
    }
  });
}

const errors: Record<FailureKind, (message: string) => Error> = {
  full: (message) => new StoreFull(`Cannot write: ${message}`),
  corrupt: (message) => new DataLoss(message),
  fatal: (message) => new DiskFailure(message),
  refused: (message) => new StoreRefused(message),
  "in-use": (message) => new StoreInUse(message),
  fault: (message) => new Error(message),
};

function errorOf({ kind, message }: Failure): Error {
  return errors[kind](message);
}

/** SQLite's result codes, see sqlite.org/rescode.html. */
const CORRUPT = 11;
const FULL = 13;
const IO_ERROR = 10;
const NOT_A_DATABASE = 26;
/** The shared memory file could not grow, which happens before anything is written: a full disk, not a failed one. */
const IO_ERROR_SHM_SIZE = 4874;

export function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof DataLoss) return { kind: "corrupt", message };
  if (error instanceof StoreRefused) return { kind: "refused", message };
  if (error instanceof StoreFull) return { kind: "full", message };
  if (error instanceof StoreInUse) return { kind: "in-use", message };
  const code = resultCode(error);
  if (code === undefined) return { kind: isNoSpace(error) ? "full" : "fault", message };
  if (code === IO_ERROR_SHM_SIZE) return { kind: "full", message };
  const primary = code & 0xff;
  if (primary === FULL) return { kind: "full", message };
  if (primary === CORRUPT || primary === NOT_A_DATABASE) return { kind: "corrupt", message: `The store's file is damaged: ${message}` };
  if (primary === IO_ERROR) return { kind: "fatal", message: `The disk failed: ${message} (${code})` };
  return { kind: "fault", message };
}

function isNoSpace(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOSPC";
}

export function resultCode(error: unknown): number | undefined {
  return error instanceof Error && "errcode" in error && typeof error.errcode === "number" ? error.errcode : undefined;
}
