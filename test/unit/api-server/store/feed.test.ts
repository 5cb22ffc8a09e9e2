import assert from "node:assert/strict";
import { BATCH_CHANGES_MAX, Feed } from "../../../../api-server/store/feed.ts";
import { type Change, StoreClosed } from "../../../../api-server/store/store.ts";
import type { Clock } from "../../../../lib/clock.ts";

const change = (key: string, number: number): Change => ({ type: "put", key, value: new Uint8Array(1), revision: `a.${number}` });
const appendTo = (feed: Feed, ...keys: string[]) => feed.append(keys.map((key, index) => change(key, feed.head + 1 + index)));
const never = new AbortController().signal;

describe("the feed of changes", () => {
  it("answers from the ring what it holds and nothing of what it dropped", () => {
    const feed = new Feed({ head: 10, compacted: 0, ringChangesMax: 2 });
    assert.equal(feed.after("", 9), undefined);
    appendTo(feed, "a", "b", "a", "b");
    assert.deepEqual(feed.after("a", 10)?.changes.map(({ revision }) => revision), ["a.11", "a.13"]);
    appendTo(feed, "a");
    assert.equal(feed.after("", 10), undefined);
    assert.deepEqual(feed.after("b", 13), { changes: [change("b", 14)], upTo: 15, more: false });
  });

  it("ends a batch at its limit and says that there is more", () => {
    const feed = new Feed({ head: 0, compacted: 0 });
    appendTo(feed, ...Array.from({ length: BATCH_CHANGES_MAX + 1 }, () => "a"));
    const { changes, upTo, more } = feed.after("", 0)!;
    assert.deepEqual([changes.length, upTo, more], [BATCH_CHANGES_MAX, BATCH_CHANGES_MAX, true]);
  });

  it("wakes at once whoever is touched, and the others once in a pause, however much grew", async () => {
    const due: (() => void)[] = [];
    const clock: Clock = { monotonicMs: () => 0, now: () => new Date(0), after: (_, run) => (due.push(run), { cancel: () => undefined }) };
    const feed = new Feed({ head: 0, compacted: 0, bookmarks: { clock, pauseMs: 100 } });
    const touched = feed.beyond({ prefix: "a", at: 0 }, never);
    const quiet = feed.beyond({ prefix: "b", at: 0 }, never);
    appendTo(feed, "a");
    appendTo(feed, "a");
    assert.equal(await touched, 0);
    assert.equal(due.length, 1);
    assert.equal(await Promise.race([quiet, Promise.resolve("waits")]), "waits");
    due[0]!();
    assert.equal(await quiet, 2);
  });

  it("ends waiting by the signal's reason or by its own close", async () => {
    const feed = new Feed({ head: 0, compacted: 0 });
    const controller = new AbortController();
    const aborted = feed.beyond({ prefix: "", at: 0 }, controller.signal);
    const closed = feed.beyond({ prefix: "", at: 0 }, never);
    controller.abort(new Error("enough"));
    await assert.rejects(aborted, /enough/);
    feed.close();
    await assert.rejects(closed, StoreClosed);
    await assert.rejects(feed.beyond({ prefix: "", at: 0 }, never), StoreClosed);
  });
});
