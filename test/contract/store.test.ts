/** Both adapters under the one contract. */
import { MemoryStore } from "../../api-server/store/memory.ts";
import { newIdentity } from "../../api-server/store/revision.ts";
import { systemClock } from "../../lib/clock.ts";
import { systemRandom } from "../../lib/random.ts";
import { auditContract } from "./store-audit.ts";
import { type OpenForTest, storeContract } from "./store.ts";
import { makePlace, openSqlite } from "./store-places.ts";

const openMemory: OpenForTest = async (options) => new MemoryStore({ identity: newIdentity(systemClock, systemRandom), ...options });

const openInPlace: OpenForTest = async (options) => {
  const place = makePlace();
  const store = await openSqlite(place.path, options);
  const close = store.close.bind(store);
  store.close = () => close().finally(() => place[Symbol.dispose]());
  return store;
};

for (const contract of [storeContract, auditContract]) {
  contract("memory", openMemory);
  contract("sqlite", openInPlace);
}
