/** Machines that arrive at a fixed pace, whoever takes them, with the time each needed to run. */
import { delay, systemClock } from "../lib/clock.ts";

export const ARRIVAL_EVERY_MS = 100;

/** Begins one every `everyMs`, however long the ones before still take; answers when all are done. */
export async function arrive(count: number, everyMs: number, begin: (index: number) => Promise<number>): Promise<number[]> {
  const beganMs = systemClock.monotonicMs();
  const times: Promise<number>[] = [];
  for (let index = 0; index < count; index++) {
    const time = begin(index);
    time.catch(() => undefined); // Heard below, when all have arrived.
    times.push(time);
    await delay(systemClock, Math.max(0, beganMs + (index + 1) * everyMs - systemClock.monotonicMs()));
  }
  return Promise.all(times);
}
