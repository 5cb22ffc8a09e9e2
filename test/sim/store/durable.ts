/** What of the API server outlives it: the records, and everything that was ever committed, as the checks read it. */
import { MemoryStore } from "../../../api-server/store/memory.ts";
import type { Stored, Write } from "../../../api-server/store/store.ts";

export type Commit = { write: Write; stored: Stored };

/** One for a seed; each life of the API server has its own view of it. */
export class DurableStore {
  readonly memory = new MemoryStore({ identity: { storeId: "store-of-the-simulation", incarnation: "one" } });
  readonly #listeners: ((commit: Commit) => void)[] = [];

  onCommit(listener: (commit: Commit) => void): void {
    this.#listeners.push(listener);
  }

  async commit(write: Write): Promise<Stored> {
    const stored = await this.memory.commit(write);
    for (const listener of this.#listeners) listener({ write, stored });
    return stored;
  }
}
