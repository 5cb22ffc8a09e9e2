/** What the embedded store answers from memory: never less than anybody has seen, and never so much that nothing else gets its turn. */
import assert from "node:assert/strict";
import type { SqliteStore } from "../../api-server/store/sqlite.ts";
import { bytes, put, text } from "./store-steps.ts";
import { makePlace, openSqlite, type Place } from "./store-places.ts";

describe("sqlite store, from memory", () => {
  let place: Place;
  beforeEach(() => void (place = makePlace()));
  afterEach(() => place[Symbol.dispose]());

  it("knows after an opening what is there and what is not", async () => {
    await writeMany(place.path, 3);
    await using store = await openSqlite(place.path, { create: false });
    for (const round of [1, 2]) {
      assert.equal(text((await store.get("vm/001"))?.value), "1", `round ${round}`);
      assert.equal(await store.get("vm/003"), undefined);
      assert.deepEqual((await store.list("vm/")).items.map(({ key }) => key), ["vm/000", "vm/001", "vm/002"]);
    }
  });

  it("hands the same bytes to every reader of one version, and as what the next one replaced", async () => {
    await using store = await openSqlite(place.path);
    const { revision } = await put(store, "vm/a", "1");
    const first = await store.get("vm/a");
    assert.equal((await store.get("vm/a"))?.value, first?.value);
    assert.equal((await store.list("vm/")).items[0]?.value, first?.value);
    const next = await put(store, "vm/a", "2", revision);
    for await (const change of store.watch("vm/", revision, new AbortController().signal)) {
      if (change.type !== "put") continue;
      assert.equal(change.previous, first?.value);
      assert.equal(change.value, next.value);
      break;
    }
  });

  it("answers no get with less than a list that came before it has shown", async () => {
    await using store = await openSqlite(place.path);
    let { revision } = await put(store, "count/a", "0");
    const written = new AbortController();
    const writer = (async () => {
      for (let count = 1; count <= 1_500; count++) ({ revision } = await put(store, "count/a", String(count), revision));
      written.abort();
    })();
    while (!written.signal.aborted) {
      // A prefix of less than one segment is always read from the file, where a commit shows before it is announced.
      const listed = await store.list("count");
      const got = await store.get("count/a");
      const [shown, told] = [listed.items[0]?.value, got?.value].map((value) => Number(text(value)));
      assert.ok(told! >= shown!, `a list has shown ${shown}, the get after it says ${told}`);
    }
    await writer;
  }).timeout(20_000);

  it("leaves a turn of the event loop between large pages, however many ask at once", async () => {
    await writeMany(place.path, 1_000);
    await using store = await openSqlite(place.path, { create: false });
    await assertTurns(store);
    await assertTurns(store);
  }).timeout(20_000);
});

async function writeMany(path: string, count: number): Promise<void> {
  await using store = await openSqlite(path);
  const names = Array.from({ length: count }, (_, index) => `vm/${String(index).padStart(3, "0")}`);
  await Promise.all(names.map((key, index) => store.commit({ key, expected: null, value: bytes(String(index)) })));
}

/** Whoever gets a page goes through it at once; no two may do so in one turn. */
async function assertTurns(store: SqliteStore): Promise<void> {
  let turn = 0;
  let counting = true;
  const count = () => {
    turn += 1;
    if (counting) setImmediate(count);
  };
  count();
  const pages = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const first = await store.list("vm/", { limit: 500 });
      const firstTurn = turn;
      const second = await store.list("vm/", { limit: 500, after: first.next!, at: first.revision });
      assert.deepEqual([first.items.length, second.items.length, second.next], [500, 500, undefined]);
      return [firstTurn, turn];
    }),
  );
  counting = false;
  assert.equal(new Set(pages.flat()).size, 40);
}
