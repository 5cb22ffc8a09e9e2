/** What every adapter of the Store port owes, as tests. An adapter's test file calls `storeContract` with its way to open one. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { formatRevision, numberOf } from "../../api-server/store/revision.ts";
import {
  type Bookmark,
  type Change,
  Compacted,
  Conflict,
  FutureRevision,
  RequestReplayed,
  type Revision,
  type Store,
  StoreClosed,
  type Stored,
} from "../../api-server/store/store.ts";
import { bytes, changesOf, checkWatches, journal, put, runWriter, start, text, watchUntil, writes } from "./store-steps.ts";

/** A small ring makes watches fall back to the log. */
export type OpenForTest = (options?: { ringChangesMax?: number }) => Promise<Store>;

export function storeContract(name: string, open: OpenForTest): void {
  describe(`store contract: ${name}`, () => {
    let store: Store;
    beforeEach(async () => void (store = await open()));
    afterEach(() => store.close());

    describe("commit and get", () => {
      it("gives back what was written, at the revision that wrote it", async () => {
        const written = await put(store, "vm/a", "one");
        assert.deepEqual(await store.get("vm/a"), { key: "vm/a", value: bytes("one"), revision: written.revision });
        assert.equal(await store.head(), written.revision);
        assert.equal(await store.get("vm/b"), undefined);
      });

      it("keeps an empty value, a large one, and a view into a larger buffer exactly", async () => {
        const large = new Uint8Array(3_000_000).fill(7);
        const view = Buffer.from("xxinnerxx").subarray(2, 7);
        for (const [key, value] of [["e", new Uint8Array(0)], ["l", large], ["v", view]] as const) {
          await store.commit({ key, expected: null, value });
          assert.deepEqual((await store.get(key))?.value, new Uint8Array(value));
        }
      });

      it("keeps what it was given when the caller changes the buffer later", async () => {
        const value = bytes("before");
        const committed = store.commit({ key: "k", expected: null, value });
        value.fill(0);
        await committed;
        value.fill(1);
        assert.equal(text((await store.get("k"))?.value), "before");
      });

      it("refuses a creation over an object, an update of none, a stale and a foreign revision, and says what stands there", async () => {
        const first = await put(store, "vm/a", "one");
        const second = await put(store, "vm/a", "two", first.revision);
        const number = numberOf(second.revision, store.identity.incarnation)!;
        for (const expected of [null, first.revision, formatRevision("other", number), "nonsense", ""]) {
          await assert.rejects(put(store, "vm/a", "x", expected), (error) => error instanceof Conflict && error.actual === second.revision);
        }
        await assert.rejects(put(store, "vm/b", "x", first.revision), (error) => error instanceof Conflict && error.actual === null);
        assert.equal(text((await store.get("vm/a"))?.value), "two");
        assert.equal(await store.head(), second.revision);
      });

      it("deletes by revision, answers the last value, and lets the key be created anew", async () => {
        const first = await put(store, "vm/a", "one");
        await assert.rejects(store.commit({ key: "vm/a", expected: start(store), value: null }), Conflict);
        const gone = await store.commit({ key: "vm/a", expected: first.revision, value: null });
        assert.equal(text(gone.value), "one");
        assert.equal(await store.get("vm/a"), undefined);
        await assert.rejects(store.commit({ key: "vm/a", expected: first.revision, value: null }), Conflict);
        await put(store, "vm/a", "again");
        assert.equal(text((await store.get("vm/a"))?.value), "again");
      });

      it("lets exactly one of many win a race, each time", async () => {
        let winner = await put(store, "vm/a", "0");
        for (let round = 0; round < 20; round++) {
          const runs = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => put(store, "vm/a", `${round}.${i}`, winner.revision)));
          const won = runs.filter((run) => run.status === "fulfilled");
          assert.equal(won.length, 1);
          for (const run of runs) if (run.status === "rejected") assert.ok(run.reason instanceof Conflict);
          winner = won[0]!.value;
          assert.deepEqual(await store.get("vm/a"), winner);
        }
      });

      it("refuses keys that would not sort the same everywhere, and a deletion of nothing, as mistakes in the code", async () => {
        for (const key of ["", "ü", "a b", "a\0", "x".repeat(1025)]) await assert.rejects(put(store, key, "x"), TypeError);
        await assert.rejects(store.commit({ key: "a", expected: null, value: null }), TypeError);
        assert.equal(await store.head(), start(store));
      });
    });

    describe("journal", () => {
      it("remembers a request with its outcome, and refuses it a second time whatever it asks", async () => {
        const first = await store.commit({ key: "vm/a", expected: null, value: bytes("1"), journal: journal("r1") });
        const entry = { ...journal("r1"), after: first.revision };
        assert.deepEqual(await store.request("r1"), entry);
        assert.equal(await store.request("r2"), undefined);
        const again = store.commit({ key: "vm/b", expected: null, value: bytes("2"), journal: journal("r1", { bodyHash: "other" }) });
        await assert.rejects(again, (error) => error instanceof RequestReplayed && assert.deepEqual(error.entry, entry) === undefined);
        assert.equal(await store.get("vm/b"), undefined);
      });

      it("acts once when the same request comes many times at once", async () => {
        const ask = () => store.commit({ key: "vm/a", expected: null, value: bytes("1"), journal: journal("r1") });
        const runs = await Promise.allSettled([ask(), ask(), ask(), ask()]);
        assert.deepEqual(runs.map((run) => run.status), ["fulfilled", "rejected", "rejected", "rejected"]);
        for (const run of runs.slice(1)) assert.ok(run.status === "rejected" && run.reason instanceof RequestReplayed);
        assert.equal(await store.head(), formatRevision(store.identity.incarnation, 1));
      });

      it("keeps nothing of a request that lost its race, so that its retry can win", async () => {
        const first = await put(store, "vm/a", "1");
        await assert.rejects(store.commit({ key: "vm/a", expected: null, value: bytes("2"), journal: journal("r1") }), Conflict);
        assert.equal(await store.request("r1"), undefined);
        await store.commit({ key: "vm/a", expected: first.revision, value: bytes("2"), journal: journal("r1") });
      });

      it("lists a key's requests newest first, and forgets those before a time", async () => {
        let revision: Revision | null = null;
        for (const atMs of [1_000, 2_000, 3_000]) {
          const entry = journal(`r${atMs}`, { atMs, before: revision ?? "" });
          ({ revision } = await store.commit({ key: "vm/a", expected: revision, value: bytes("x"), journal: entry }));
        }
        await store.commit({ key: "vm/b", expected: null, value: bytes("x"), journal: journal("other", { key: "vm/b", atMs: 3_000 }) });
        assert.deepEqual((await store.journalOf("vm/a", 2)).map((entry) => entry.requestId), ["r3000", "r2000"]);
        await store.expireJournal(3_000);
        assert.deepEqual((await store.journalOf("vm/a", 9)).map((entry) => entry.requestId), ["r3000"]);
        assert.equal(await store.request("r1000"), undefined);
      });

      it("keeps 64-bit times and every character", async () => {
        const odd = journal("r'\"\n\0ü\u{1f600}", { atMs: 2 ** 52 + 1, subject: "a\tb", bodyHash: "" });
        const { revision } = await store.commit({ key: "vm/a", expected: null, value: bytes("x"), journal: odd });
        assert.deepEqual(await store.request(odd.requestId), { ...odd, after: revision });
      });
    });

    describe("list", () => {
      it("orders by key, keeps to the prefix, and pages", async () => {
        for (const key of ["vm/b", "vm/a", "vm/c", "vma", "vl/z", "vm/b/x", "vm0"]) await put(store, key, key);
        const all = await store.list("vm/");
        assert.deepEqual(all.items.map((item) => item.key), ["vm/a", "vm/b", "vm/b/x", "vm/c"]);
        assert.equal(all.next, undefined);
        assert.equal(all.revision, await store.head());
        const page = await store.list("vm/", { limit: 3 });
        assert.deepEqual([page.items.length, page.next], [3, "vm/b/x"]);
        const rest = await store.list("vm/", { limit: 3, after: page.next!, at: page.revision });
        assert.deepEqual([rest.items.map((item) => item.key), rest.next], [["vm/c"], undefined]);
        assert.equal((await store.list("vm/", { limit: 4 })).next, undefined);
        assert.equal((await store.list("")).items.length, 7);
        assert.deepEqual((await store.list("ü\u{10ffff}")).items, []);
      });

      it("shows one revision over all pages while writes go on", async () => {
        for (let i = 0; i < 30; i++) await put(store, `vm/${String(i).padStart(3, "0")}`, "old");
        const before = await store.list("vm/");
        const items: Stored[] = [];
        let page = await store.list("vm/", { limit: 4 });
        for (;;) {
          items.push(...page.items);
          const { key, revision } = before.items[items.length % 30]!;
          await put(store, key, "new", revision).catch(() => undefined);
          const last = await store.get("vm/029");
          if (last) await store.commit({ key: last.key, expected: last.revision, value: null });
          await put(store, `vm/0${items.length}x`, "new");
          if (page.next === undefined) break;
          page = await store.list("vm/", { limit: 4, after: page.next, at: page.revision });
          assert.equal(page.revision, before.revision);
        }
        assert.deepEqual(items, before.items);
      });

      it("refuses revisions that it does not have: compacted, ahead, foreign, malformed", async () => {
        const first = await put(store, "vm/a", "1");
        const second = await put(store, "vm/a", "2", first.revision);
        await store.compact(second.revision);
        await assert.rejects(store.list("vm/", { at: first.revision }), (error) => error instanceof Compacted && error.oldest === second.revision);
        assert.deepEqual((await store.list("vm/", { at: second.revision })).items, [second]);
        const { incarnation } = store.identity;
        for (const at of [`${incarnation}.3`, "other.1", "", "1", `${incarnation}.-1`, `${incarnation}.01`, `${incarnation}.9007199254740993`]) {
          await assert.rejects(store.list("vm/", { at }), (error) => error instanceof FutureRevision && error.head === second.revision, at);
          await assert.rejects(store.compact(at), FutureRevision, at);
        }
      });
    });

    describe("watch", () => {
      it("tells each change with what it replaced, and where it has come to", async () => {
        const one = await put(store, "vm/a", "1");
        const two = await put(store, "vm/a", "2", one.revision);
        await put(store, "node/a", "x");
        const gone = await store.commit({ key: "vm/a", expected: two.revision, value: null });
        assert.deepEqual(await watchUntil(store, "vm/", { from: start(store), until: gone.revision }), [
          { type: "bookmark", revision: start(store) },
          { type: "put", key: "vm/a", value: bytes("1"), revision: one.revision },
          { type: "put", key: "vm/a", value: bytes("2"), revision: two.revision, previous: bytes("1") },
          { type: "delete", key: "vm/a", revision: gone.revision, previous: bytes("2") },
          { type: "bookmark", revision: gone.revision },
        ]);
      });

      it("speaks at once, and moves on when the log grows elsewhere", async () => {
        const watch = store.watch("vm/", await store.head(), new AbortController().signal)[Symbol.asyncIterator]();
        assert.deepEqual((await watch.next()).value, { type: "bookmark", revision: start(store) });
        const waiting = watch.next();
        const elsewhere = await put(store, "node/a", "x");
        assert.deepEqual((await waiting).value, { type: "bookmark", revision: elsewhere.revision });
        await watch.return?.();
      });

      it("refuses revisions that it does not have at the first step", async () => {
        const first = await put(store, "vm/a", "1");
        const second = await put(store, "vm/a", "2", first.revision);
        const next = (from: Revision) => store.watch("vm/", from, new AbortController().signal)[Symbol.asyncIterator]().next();
        for (const from of [`${store.identity.incarnation}.3`, "other.1", "garbage", ""]) await assert.rejects(next(from), FutureRevision, from);
        await store.compact(second.revision);
        await assert.rejects(next(first.revision), (error) => error instanceof Compacted && error.oldest === second.revision);
        assert.equal((await next(second.revision)).done, false);
      });

      it("ends with the signal's reason, before and while it waits", async () => {
        const why = new Error("enough");
        await assert.rejects(store.watch("", start(store), AbortSignal.abort(why))[Symbol.asyncIterator]().next().then(async () => {
          for await (const _ of store.watch("", start(store), AbortSignal.abort(why)));
        }), why);
        const controller = new AbortController();
        const watch = store.watch("", start(store), controller.signal)[Symbol.asyncIterator]();
        await watch.next();
        const waiting = watch.next();
        controller.abort(why);
        await assert.rejects(waiting, why);
      });

      it("is not cut by compaction while it keeps up, and is cut with the oldest when it has not", async () => {
        const first = await put(store, "vm/a", "1");
        const behind = store.watch("vm/", start(store), new AbortController().signal)[Symbol.asyncIterator]();
        await behind.next();
        const stop = new AbortController();
        const following: (Change | Bookmark)[] = [];
        const current = (async () => {
          for await (const message of store.watch("vm/", first.revision, stop.signal)) following.push(message);
        })();
        let last = first;
        for (let i = 0; i < 10; i++) last = await put(store, `node/${i}`, "x");
        const told = async (revision: Revision) => {
          while (following.at(-1)?.revision !== revision) await new Promise((resolve) => setImmediate(resolve));
        };
        await told(last.revision);
        await store.compact(last.revision);
        await assert.rejects(behind.next(), (error) => error instanceof Compacted && error.oldest === last.revision);
        const change = await put(store, "vm/b", "2");
        await told(change.revision);
        assert.deepEqual(changesOf(following), [{ type: "put", key: "vm/b", value: bytes("2"), revision: change.revision }]);
        stop.abort(new Error("done"));
        await assert.rejects(current, /done/);
      });

      for (const ringChangesMax of [4, 4_096]) {
        it(`is ordered, unique, atomic, reliable, resumable and bookmarkable under random writers (ring of ${ringChangesMax})`, async () => {
          await fc.assert(
            fc.asyncProperty(fc.array(writes, { minLength: 1, maxLength: 6 }), fc.nat(60), async (writers, resumeAt) => {
              await using fresh = await open({ ringChangesMax });
              await checkWatches(fresh, writers, resumeAt);
            }),
            { numRuns: 12, seed: 7 },
          );
        }).timeout(60_000);
      }
    });

    describe("compaction", () => {
      it("keeps live values, what later changes replaced, and all above the mark", async () => {
        const a1 = await put(store, "a", "1");
        const a2 = await put(store, "a", "2", a1.revision);
        const b1 = await put(store, "b", "1");
        const b2 = await store.commit({ key: "b", expected: b1.revision, value: null });
        await store.compact(b2.revision);
        const a3 = await put(store, "a", "3", a2.revision);
        const b3 = await put(store, "b", "3");
        await store.compact(a1.revision);
        const seen = changesOf(await watchUntil(store, "", { from: b2.revision, until: b3.revision }));
        assert.deepEqual(seen, [
          { type: "put", key: "a", value: bytes("3"), revision: a3.revision, previous: bytes("2") },
          { type: "put", key: "b", value: bytes("3"), revision: b3.revision },
        ]);
        assert.deepEqual((await store.list("", { at: b2.revision })).items, [a2]);
        assert.deepEqual((await store.list("")).items, [a3, b3]);
      });

      it("never gives a number twice, though the newest change was a deletion that is forgotten", async () => {
        const only = await put(store, "a", "1");
        const gone = await store.commit({ key: "a", expected: only.revision, value: null });
        await store.compact(gone.revision);
        assert.equal(await store.head(), gone.revision);
        assert.deepEqual(await store.list(""), { items: [], revision: gone.revision });
        assert.equal((await put(store, "b", "1")).revision, formatRevision(store.identity.incarnation, 3));
      });

      it("leaves what stands unchanged whatever is compacted when", async () => {
        await fc.assert(
          fc.asyncProperty(writes, fc.array(fc.nat(100), { maxLength: 3 }), async (steps, marks) => {
            await using fresh = await open();
            await runWriter(fresh, steps, "w");
            const before = await fresh.list("");
            const head = numberOf(before.revision, fresh.identity.incarnation)!;
            for (const mark of marks) {
              await fresh.compact(formatRevision(fresh.identity.incarnation, Math.floor((mark * head) / 100)));
              assert.deepEqual(await fresh.list(""), before);
              assert.deepEqual(await fresh.list("", { at: before.revision }), before);
            }
          }),
          { numRuns: 10, seed: 7 },
        );
      }).timeout(60_000);
    });

    it("ends every watch and every later call when closed, also closed twice, and loses no write under way", async () => {
      const watch = store.watch("", start(store), new AbortController().signal)[Symbol.asyncIterator]();
      await watch.next();
      const ended = assert.rejects(watch.next(), StoreClosed);
      const closedStore = store;
      await closedStore.close();
      await ended;
      await closedStore.close();
      await assert.rejects(closedStore.get("a"), StoreClosed);
      await assert.rejects(put(closedStore, "a", "1"), StoreClosed);
    });
  });
}
