/**
 * What the audit needs done while the server runs: its head noted in the log, where whoever changes the store does not come
 * to; its chain looked through; its entries exported, and forgotten when they are old and exported.
 */
import { Event, EventType, ObjectReference } from "../../gen/drover/v1/event.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import { entryOf, STRETCH_ROWS_MAX } from "../store/audit.ts";
import type { Store } from "../store/store.ts";
import type { ExportDirectory } from "./export.ts";
import { verifyAudit } from "./verify.ts";

const DAY_MS = 86_400_000;
const AGE_DAYS_MAX = 90;

export type KeeperParts = {
  store: Pick<Store, "audit" | "expireAudit">;
  clock: Clock;
  log: Logger;
  /** Without one nothing is forgotten. */
  exports?: ExportDirectory | undefined;
  tell: (event: Event) => Promise<unknown>;
};

export class AuditKeeper {
  readonly #parts: KeeperParts;
  #verifiedMs = -Infinity;

  constructor(parts: KeeperParts) {
    this.#parts = parts;
  }

  /** Once at the start and every hour. */
  async tidy(signal: AbortSignal): Promise<void> {
    const { store, clock, log } = this.#parts;
    const { head } = await store.audit({ after: 0, limit: 0 });
    log.info({ audit: head }, "the audit's head");
    if (clock.monotonicMs() - this.#verifiedMs >= DAY_MS) await this.#verify(signal);
    await this.#export(signal);
    await this.#expire();
  }

  async #verify(signal: AbortSignal): Promise<void> {
    const { store, clock, log } = this.#parts;
    const { fault, entries } = await verifyAudit(store, { signal });
    this.#verifiedMs = clock.monotonicMs();
    if (!fault) return;
    log.error({ fault, entries }, "the audit's chain is broken");
    await this.#tell("AuditChainBroken", `The audit was changed from outside: ${fault.message}`);
  }

  async #export(signal: AbortSignal): Promise<void> {
    const { store, exports } = this.#parts;
    if (!exports) return;
    for (let [after, more] = [exports.reached(), true]; more; ) {
      signal.throwIfAborted();
      const stretch = await store.audit({ after, limit: STRETCH_ROWS_MAX });
      exports.write(stretch.rows);
      ({ reached: after, more } = stretch);
    }
  }

  async #expire(): Promise<void> {
    const { store, clock, exports } = this.#parts;
    const before = clock.now().getTime() - AGE_DAYS_MAX * DAY_MS;
    for (let more = true; more; ) {
      const stretch = await store.audit({ after: 0, limit: STRETCH_ROWS_MAX });
      const entries = stretch.rows.map(({ line }) => entryOf(line));
      const young = entries.findIndex(({ atMs }) => atMs >= before);
      const last = entries[(young === -1 ? entries.length : young) - 1];
      if (!last) return;
      if (!exports || last.seq > exports.reached()) {
        return this.#tell("AuditNotExported", `Entries of the audit are older than ${AGE_DAYS_MAX} days and stay, as they are not exported: set audit.exportDirectory`);
      }
      await store.expireAudit({ seq: last.seq, hash: last.hash });
      more = young === -1;
    }
  }

  async #tell(reason: string, message: string): Promise<void> {
    const regarding = ObjectReference.create({ kind: "AuditLog", name: "audit" });
    await this.#parts.tell(Event.create({ regarding, reason, message, type: EventType.WARNING, source: "api-server" }));
  }
}
