/**
 * The port of time. Everything that waits or measures takes a Clock, so that a whole fleet can be lived through on
 * virtual time; only this file reaches for the system's.
 */
import { clearTimeout, setTimeout } from "node:timers";

/** A pending call; `cancel` is safe to repeat and after it ran. */
export type Timer = { cancel(): void };

export interface Clock {
  /** Milliseconds on a clock that never jumps. Meaningful only as a difference within one process. */
  monotonicMs(): number;
  /** Wall time, for people: record timestamps and log lines, never a decision. */
  now(): Date;
  /** Calls `run` once, `delayMs` from now. */
  after(delayMs: number, run: () => void): Timer;
}

/** `process.hrtime` is CLOCK_MONOTONIC, which stops in suspend; the boot identity in each claim covers a resumed host. */
export const systemClock: Clock = {
  monotonicMs: () => Number(process.hrtime.bigint() / 1000n) / 1000,
  now: () => new Date(),
  after(delayMs, run) {
    const timer = setTimeout(run, Math.max(0, delayMs));
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Resolves after `delayMs`; rejects with the signal's reason as soon as it aborts. */
export function delay(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const stop = () => {
      timer.cancel();
      reject(signal!.reason as Error);
    };
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener("abort", stop);
      resolve();
    });
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Runs `run` every `everyMs`, one at a time, until the signal aborts; a run that throws goes to `onError`. */
export async function every(
  clock: Clock,
  everyMs: number,
  { run, signal, onError }: { run: () => Promise<void> | void; signal: AbortSignal; onError: (error: unknown) => void },
): Promise<void> {
  while (!signal.aborted) {
    try {
      await run();
    } catch (error) {
      if (!signal.aborted) onError(error);
    }
    await delay(clock, everyMs, signal).catch(() => undefined);
  }
}

/** A signal that aborts after `ms`, or with `parent`; `dispose` frees the timer. */
export function deadline(clock: Clock, ms: number, parent?: AbortSignal): { signal: AbortSignal } & Disposable {
  const controller = new AbortController();
  const abort = () => controller.abort(parent!.reason);
  if (parent?.aborted) abort();
  parent?.addEventListener("abort", abort, { once: true });
  const timer = clock.after(ms, () => controller.abort(new DeadlineExceeded(ms)));
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      timer.cancel();
      parent?.removeEventListener("abort", abort);
    },
  };
}

export class DeadlineExceeded extends Error {
  override name = "DeadlineExceeded";
  constructor(ms: number) {
    super(`No answer within ${ms} ms`);
  }
}
