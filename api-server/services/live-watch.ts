/**
 * A watch of migrations with the figures that come between two records of them: the migration as last told, with these, at
 * the revision that the watch has reached. What a slow reader has not taken is replaced by what is newer, so nothing grows.
 */
import { VirtualMachineInstanceMigrationStatus } from "../../gen/drover/v1/migration.ts";
import type { DeletedVirtualMachineInstanceMigration, VirtualMachineInstanceMigration } from "../../gen/drover/v1/migration.ts";
import type { MigrationProgress } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { LiveProgress } from "../sessions/live-progress.ts";
import { isOpen } from "../subresources/migrate.ts";
import type { Watched } from "./crud.ts";

type Message = Watched<VirtualMachineInstanceMigration, DeletedVirtualMachineInstanceMigration>;

export async function* withLiveProgress(messages: AsyncGenerator<Message>, live: LiveProgress): AsyncGenerator<Message> {
  const told = new Told();
  let news = Promise.withResolvers<undefined>();
  using _following = live.follow((uid, progress) => {
    if (told.note(uid, progress)) news.resolve(undefined);
  });
  let next = messages.next();
  try {
    for (;;) {
      const result = await Promise.race([next, news.promise]);
      if (result?.done) return;
      if (result) {
        told.take(result.value);
        yield result.value;
        next = messages.next();
      } else {
        news = Promise.withResolvers();
        yield* told.fresh();
      }
    }
  } finally {
    // It ends with the call's signal; whoever has stopped listening does not wait for that.
    next.catch(() => undefined);
    messages.return(undefined).catch(() => undefined);
  }
}

/** What this watch has told of open migrations, and the figures that have come since. */
class Told {
  readonly #open = new Map<string, VirtualMachineInstanceMigration>();
  readonly #fresh = new Map<string, MigrationProgress>();
  /** Empty until everything that was there has been told: within a snapshot there is no revision to resume from. */
  #revision = "";

  take({ event, revision }: Message): void {
    if (event?.$case === "bookmark" || this.#revision !== "") this.#revision = revision;
    if (event?.$case !== "added" && event?.$case !== "modified" && event?.$case !== "deleted") return;
    const migration = event.$case === "deleted" ? event.value.migration : event.value;
    const uid = migration?.metadata?.uid ?? "";
    // A record may be older than figures that came just before it; those of the next second say more.
    this.#fresh.delete(uid);
    if (migration && event.$case !== "deleted" && isOpen(migration)) this.#open.set(uid, migration);
    else this.#open.delete(uid);
  }

  /** Whether it is of a migration that this watch shows. */
  note(uid: string, progress: MigrationProgress): boolean {
    if (this.#revision === "" || !this.#open.has(uid)) return false;
    this.#fresh.set(uid, progress);
    return true;
  }

  *fresh(): Generator<Message> {
    for (const [uid, progress] of this.#fresh) {
      this.#fresh.delete(uid);
      const migration = this.#open.get(uid);
      if (!migration) continue;
      const status = { ...(migration.status ?? VirtualMachineInstanceMigrationStatus.create()), progress };
      yield { event: { $case: "modified", value: { ...migration, status } }, revision: this.#revision };
    }
  }
}
