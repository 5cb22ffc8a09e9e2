/** Writes what no change tells of: refusals, which nobody waits for, and acts, which wait until they are on the disk. */
import type { Clock, Timer } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import type { Act } from "../store/audit.ts";
import type { Store } from "../store/store.ts";
import { RefusalBudget } from "./budget.ts";

type Waiting = { act: Act; resolve: () => void; reject: (error: unknown) => void };

/** Beyond it the disk is far too slow, and what nobody waits for is counted in the log alone. */
const WAITING_MAX = 2_000;

export type RecorderParts = { store: Pick<Store, "appendAudit">; clock: Clock; log: Logger };

export class Recorder {
  readonly #parts: RecorderParts;
  readonly #budget = new RefusalBudget();
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;
  #timer: Timer | undefined;
  #closed = false;

  constructor(parts: RecorderParts) {
    this.#parts = parts;
  }

  /** Durable when it resolves. Throws what the store throws: what cannot be recorded is not to be carried out. */
  record(act: Act): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ act, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  refused(act: Act): void {
    const { clock } = this.#parts;
    // Calls may end after everything else has stopped; they are few.
    if (this.#closed) return this.#later(act);
    const single = this.#budget.admit(act, clock.monotonicMs());
    if (single) this.#later(single);
    this.#timer ??= clock.after(this.#budget.due(clock.monotonicMs()).nextMs ?? 0, () => this.#fold());
  }

  /** Everything that was handed in so far, but for what is still being counted. */
  async flushed(): Promise<void> {
    while (this.#running) await this.#running;
  }

  /** Writes what is still being counted, too. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    for (const act of this.#budget.due(Infinity).acts) this.#later(act);
    await this.flushed();
  }

  #fold(): void {
    const { clock } = this.#parts;
    const { acts, nextMs } = this.#budget.due(clock.monotonicMs());
    for (const act of acts) this.#later(act);
    this.#timer = nextMs === undefined ? undefined : clock.after(nextMs, () => this.#fold());
  }

  #later(act: Act): void {
    const lost = (error: unknown) => {
      const { subject, rpc, code, count } = act;
      this.#parts.log.error({ error, subject, rpc, code, count }, "cannot record a refusal in the audit");
    };
    if (this.#waiting.length >= WAITING_MAX) lost(new Error(`${WAITING_MAX} entries wait for the disk`));
    else this.record(act).catch(lost);
  }

  /** Whatever comes while one batch is written goes into the next one. */
  async #run(): Promise<void> {
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0);
      try {
        await this.#parts.store.appendAudit(batch.map(({ act }) => act));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#running = undefined;
  }
}
