import assert from "node:assert/strict";
import { openStore, type OpenOptions } from "../../../../api-server/store/open.ts";
import { StoreRefused } from "../../../../api-server/store/store.ts";
import { systemClock } from "../../../../lib/clock.ts";
import { systemRandom } from "../../../../lib/random.ts";

describe("a store's address", () => {
  const options: OpenOptions = { clock: systemClock, random: systemRandom, create: true, onFatal: assert.ifError };

  it("names the adapter", async () => {
    await using store = await openStore("memory:", options);
    assert.equal(await store.head(), `${store.identity.incarnation}.0`);
  });

  it("is refused when it names none, or a relative path", async () => {
    for (const address of ["", "memory", "memory:x", "etcd://host", "sqlite:", "sqlite:relative.db", "/path/file.db"]) {
      await assert.rejects(openStore(address, options), StoreRefused, address);
    }
  });
});
