/** The first answer to a request that came again. */
import { Aborted, InvalidArgument } from "../../lib/errors.ts";
import { type Kind, metaOf, type Resource } from "../kinds/kind.ts";
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
  const stored = await storedAt(store, entry.key, entry.after);
  if (stored) return hideSecrets(kind, decodeObject(kind, stored.value, stored.revision));
  const last = await storedAt(store, entry.key, entry.before);
  if (last) return hideSecrets(kind, deleted(decodeObject(kind, last.value, entry.after), new Date(entry.atMs)));
  throw new Aborted(`The request was carried out, and "${entry.key}" is gone since`, { reason: "ALREADY_DONE" });
}

/** A deletion leaves no bytes of its own; what was answered is what stood before, with the deletion in it. */
function deleted<T extends Resource>(object: T, deletionTimestamp: Date): T {
  const metadata = metaOf(object);
  return { ...object, metadata: { ...metadata, deletionTimestamp: metadata.deletionTimestamp ?? deletionTimestamp } };
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
