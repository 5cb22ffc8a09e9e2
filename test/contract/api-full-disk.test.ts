/** A full disk: nothing new is recorded, but what is there can be read and deleted, and that makes room again. */
import assert from "node:assert/strict";
import { Namespace } from "../../gen/drover/v1/namespace.ts";
import { systemClock } from "../../lib/clock.ts";
import { metaOf } from "../../api-server/kinds/kind.ts";
import { namespaces, virtualMachines } from "../../api-server/kinds/table.ts";
import { StoreObjects } from "../../api-server/records/objects.ts";
import { StoreFull } from "../../api-server/store/store.ts";
import { admin, callBy, countingRandom, machine, rules, schema, user } from "../unit/api-server/fixture.ts";
import { makePlace, openSqlite } from "./store-places.ts";

const LIMITS = { pagesMax: 260, sparePages: 130 };
/** A whole page for each machine, so that the disk is full of few. */
const USER_DATA = "#cloud-config\n".padEnd(6_000, "#");

describe("a full disk", function () {
  this.timeout(60_000);

  it("refuses what is new, and lets everything be read, deleted, compacted and watched", async () => {
    using place = makePlace();
    await using store = await openSqlite(place.path, { limits: LIMITS });
    const stop = new AbortController();
    const objects = new StoreObjects({ store, schema, rules, clock: systemClock, random: countingRandom(), stopping: stop.signal });
    await objects.create(namespaces, Namespace.create({ metadata: { name: "default" } }), callBy(admin));
    const names: string[] = [];
    const create = async (name: string) => {
      await objects.create(virtualMachines, machine({ name, userData: USER_DATA }), callBy(user));
      names.push(name);
    };
    const filling = async () => {
      for (let i = 0; ; i += 1) await create(`vm-${i}`);
    };
    await assert.rejects(filling(), StoreFull);
    assert.ok(names.length > 5, `${names.length} machines`);
    assert.equal((await objects.list(virtualMachines, { pageSize: 500 })).items.length, names.length);
    await assert.rejects(create("more"), StoreFull);
    await assert.rejects(objects.change(virtualMachines, { name: "vm-0" }, (vm) => ({ ...vm, metadata: { ...metaOf(vm), labels: { a: "b" } } }), callBy(user)), StoreFull);
    const watching = objects.watch(virtualMachines, { fromRevision: await store.head(), signal: stop.signal })[Symbol.asyncIterator]();
    await watching.next();
    for (const name of names) {
      // Marked by its user, and freed by the controller: both belong to one deletion.
      const marked = await objects.remove(virtualMachines, { name }, callBy(user, { requestId: `delete-${name}`, repeatable: true }));
      assert.ok(marked.metadata!.deletionTimestamp);
      await objects.change(virtualMachines, { name }, (vm) => ({ ...vm, metadata: { ...metaOf(vm), finalizers: [] } }), callBy(admin));
      await assert.rejects(create("more"), StoreFull);
    }
    assert.deepEqual((await objects.list(virtualMachines)).items, []);
    for (let i = 0; i < names.length; i += 1) {
      assert.equal((await watching.next()).value.type, "modified");
      assert.equal((await watching.next()).value.type, "deleted");
    }
    assert.deepEqual((await store.list("identifiers/")).items, []);
    await store.compact(await store.head());
    for (let attempt = 0; ; attempt += 1) {
      const refused: unknown = await create("new").then(() => undefined, (error: unknown) => error);
      if (refused === undefined) break;
      assert.ok(refused instanceof StoreFull && attempt < 100);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    stop.abort();
  });
});
