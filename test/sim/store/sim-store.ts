/** The store as one life of the API server has it: slow, full, failing, and durable all the same. */
import type { Act, AuditQuery, AuditStretch, Mark } from "../../../api-server/store/audit.ts";
import type { Bookmark, Change, JournalEntry, Page, Revision, Store, Stored, Write } from "../../../api-server/store/store.ts";
import { StoreFull } from "../../../api-server/store/store.ts";
import type { Failpoints } from "../programs/failpoints.ts";
import type { Chance } from "../world/chance.ts";
import type { Life } from "../world/life.ts";
import type { DurableStore } from "./durable.ts";

/** How the disk is. */
export type Disk = { commitMs: [number, number]; full: boolean; failing: boolean };
export const SOUND: Disk = { commitMs: [0.3, 3], full: false, failing: false };

export type SimStoreOptions = { life: Life; durable: DurableStore; disk: () => Disk; failpoints: Failpoints; chance: Chance };

class DiskFailed extends Error {
  override name = "DiskFailed";
}

export class SimStore implements Store {
  readonly #options: SimStoreOptions;
  #dueMs = 0;

  constructor(options: SimStoreOptions) {
    this.#options = options;
  }

  get identity(): Store["identity"] {
    return this.#memory.identity;
  }

  get #memory(): DurableStore["memory"] {
    return this.#options.durable.memory;
  }

  commit(write: Write): Promise<Stored> {
    return this.#onDisk("commit", { makesRoom: write.value === null || write.makesRoom === true }, () => this.#options.durable.commit(write));
  }

  appendAudit(acts: readonly Act[]): Promise<void> {
    return this.#onDisk("audit", { makesRoom: false }, () => this.#memory.appendAudit(acts));
  }

  head = (): Promise<Revision> => this.#options.life.hears(this.#memory.head());
  get = (key: string): Promise<Stored | undefined> => this.#options.life.hears(this.#memory.get(key));
  list = (prefix: string, options?: { limit?: number; after?: string; at?: Revision }): Promise<Page> => this.#options.life.hears(this.#memory.list(prefix, options));
  request = (requestId: string): Promise<JournalEntry | undefined> => this.#options.life.hears(this.#memory.request(requestId));
  journalOf = (key: string, limit: number): Promise<JournalEntry[]> => this.#options.life.hears(this.#memory.journalOf(key, limit));
  compact = (before: Revision): Promise<void> => this.#options.life.hears(this.#memory.compact(before));
  expireJournal = (atMs: number): Promise<void> => this.#options.life.hears(this.#memory.expireJournal(atMs));
  audit = (query: AuditQuery): Promise<AuditStretch> => this.#options.life.hears(this.#memory.audit(query));
  expireAudit = (upTo: Mark): Promise<void> => this.#options.life.hears(this.#memory.expireAudit(upTo));

  async *watch(prefix: string, from: Revision, signal: AbortSignal): AsyncGenerator<Change | Bookmark> {
    const { life } = this.#options;
    const ends = AbortSignal.any([signal, life.ended.signal]);
    try {
      for await (const change of this.#memory.watch(prefix, from, ends)) {
        await life.alive();
        yield change;
      }
    } catch (error) {
      await life.alive();
      throw error;
    }
  }

  /** The file stays open for the next life. */
  close(): Promise<void> {
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** One write after the other, each durable when its answer leaves, whoever still hears it. */
  #onDisk<T>(what: string, { makesRoom }: { makesRoom: boolean }, write: () => Promise<T>): Promise<T> {
    const { life, disk, failpoints, chance } = this.#options;
    const { world } = life;
    return new Promise<T>((resolve, reject) => {
      const [fromMs, toMs] = disk().commitMs;
      this.#dueMs = Math.max(this.#dueMs, world.nowMs + chance.between(fromMs, toMs));
      if (failpoints.passes(life, `api-server.${what}.before`)) return;
      world.after(this.#dueMs - world.nowMs, () =>
        life.enter(() => {
          const { full, failing } = disk();
          if (failing) return reject(new DiskFailed("The disk does not answer"));
          if (full && !makesRoom) return reject(new StoreFull("The disk is full"));
          write().then(
            (value) => {
              if (!failpoints.passes(life, `api-server.${what}.after`)) life.enter(() => resolve(value));
            },
            (error: unknown) => life.enter(() => reject(error as Error)),
          );
        }));
    });
  }
}
