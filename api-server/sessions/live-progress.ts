/**
 * The figures of running transfers as they come, once a second: kept in memory, the latest wins, and told to those who watch
 * migrations. The records have them now and then, since a record costs a commit.
 */
import type { MigrationProgress } from "../../gen/drover/v1/virtual_machine_instance.ts";

type Listener = (migrationUid: string, progress: MigrationProgress) => void;

export class LiveProgress {
  readonly #listeners = new Set<Listener>();

  tell(migrationUid: string, progress: MigrationProgress): void {
    for (const listener of this.#listeners) listener(migrationUid, progress);
  }

  follow(listener: Listener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }
}
