/** What of the API server outlives it: the records, and everything that was ever committed, as the checks read it. */
import { MemoryStore } from "../../../api-server/store/memory.ts";
import type { Stored, Write } from "../../../api-server/store/store.ts";
import type { Clock } from "../../../lib/clock.ts";
import type { World } from "../world/world.ts";

/** As the store on a disk has it. */
const BOOKMARK_PAUSE_MS = 1_000;

export type Commit = { write: Write; stored: Stored };

/** One for a seed; each life of the API server has its own view of it. */
export class DurableStore {
  readonly memory: MemoryStore;
  readonly #listeners: ((commit: Commit) => void)[] = [];

  /** Watchers hear of what is not theirs as seldom as from the store on a disk. */
  constructor(world: World) {
    const clock: Clock = { monotonicMs: () => world.nowMs, now: () => new Date(world.nowMs), after: (delayMs, run) => world.after(delayMs, run) };
    this.memory = new MemoryStore({ identity: { storeId: "store-of-the-simulation", incarnation: "one" }, bookmarks: { clock, pauseMs: BOOKMARK_PAUSE_MS } });
  }

  onCommit(listener: (commit: Commit) => void): void {
    this.#listeners.push(listener);
  }

  async commit(write: Write): Promise<Stored> {
    const stored = await this.memory.commit(write);
    for (const listener of this.#listeners) listener({ write, stored });
    return stored;
  }
}
