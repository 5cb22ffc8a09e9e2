/** A store by its address: the one place that knows every adapter. */
import { isAbsolute } from "node:path";
import type { Clock } from "../../lib/clock.ts";
import type { Random } from "../../lib/random.ts";
import { MemoryStore } from "./memory.ts";
import { newIdentity } from "./revision.ts";
import type { SqliteFaults } from "./sqlite-protocol.ts";
import { SqliteStore } from "./sqlite.ts";
import { type DataLoss, type Store, StoreRefused } from "./store.ts";

export type OpenOptions = {
  clock: Clock;
  random: Random;
  /** A store may be made where there never was one; an existing file is never replaced. */
  create: boolean;
  /** Nothing can be written any more and nobody knows what is on the disk: end the process. */
  onFatal: (error: Error) => void;
  /** Damage was found; reads go on. */
  onDataLoss?: (error: DataLoss) => void;
  /** For tests of what a bad disk does. */
  faults?: SqliteFaults | undefined;
};

/** `sqlite:/path/to/drover.db`, or `memory:` for one that dies with the process. */
export async function openStore(address: string, options: OpenOptions): Promise<Store> {
  const [scheme, place] = split(address);
  const identity = newIdentity(options.clock, options.random);
  if (scheme === "memory" && place === "") return new MemoryStore({ identity });
  if (scheme !== "sqlite" || !isAbsolute(place)) {
    throw new StoreRefused(`Cannot open the store "${address}": expected "sqlite:" with an absolute path, or "memory:"`);
  }
  const { clock, create, onFatal, onDataLoss, faults } = options;
  return SqliteStore.open({ path: place, identity, create, clock, onFatal, ...(onDataLoss && { onDataLoss }), ...(faults && { faults }) });
}

function split(address: string): [scheme: string, place: string] {
  const colon = address.indexOf(":");
  return [address.slice(0, colon), address.slice(colon + 1)];
}
