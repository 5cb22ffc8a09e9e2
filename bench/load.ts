/** A closed load: so many clients, each with one call at a time, for so long. */
import { systemClock } from "../lib/clock.ts";

export type Load = { clients: number; forMs: number };
export type Measured = { rate: number; timesMs: number[] };

export async function underLoad({ clients, forMs }: Load, call: (client: number, index: number) => Promise<unknown>): Promise<Measured> {
  const beganMs = systemClock.monotonicMs();
  const timesMs: number[] = [];
  const client = async (number: number) => {
    for (let index = 0; systemClock.monotonicMs() - beganMs < forMs; index++) {
      const askedMs = systemClock.monotonicMs();
      await call(number, index);
      timesMs.push(systemClock.monotonicMs() - askedMs);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
  return { rate: (timesMs.length * 1000) / (systemClock.monotonicMs() - beganMs), timesMs };
}
