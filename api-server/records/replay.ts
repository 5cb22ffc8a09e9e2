/** The first answer to a request that came again. */
import { Aborted, InvalidArgument } from "../../lib/errors.ts";
import type { Kind, Resource } from "../kinds/kind.ts";
import type { Call } from "../objects.ts";
import { Compacted, type JournalEntry, type Store, type Stored } from "../store/store.ts";
import { decodeObject } from "./codec.ts";
import { hideSecrets } from "./secrets.ts";

/** As the first answer had it; where that version is compacted, as the object is now. */
export async function answerOf<T extends Resource>(
  store: Store,
  { kind, entry, call }: { kind: Kind<T>; entry: JournalEntry; call: Call },
): Promise<T> {
  if (entry.bodyHash !== call.bodyHash || entry.rpc !== call.rpc) {
    throw new InvalidArgument([{ path: "request_id", message: "was used for another request within 24 hours" }], "REQUEST_ID_REUSED");
  }
  const stored = (await storedAt(store, entry.key, entry.after)) ?? (await storedAt(store, entry.key, entry.before));
  if (stored) return hideSecrets(kind, decodeObject(kind, stored.value, stored.revision));
  throw new Aborted(`The request was carried out, and "${entry.key}" is gone since`, { reason: "ALREADY_DONE" });
}

async function storedAt(store: Store, key: string, at: string): Promise<Stored | undefined> {
  if (at === "") return undefined;
  try {
    const page = await store.list(key, { limit: 1, at });
    return page.items.find((item) => item.key === key);
  } catch (error) {
    if (error instanceof Compacted) return store.get(key);
    throw error;
  }
}
