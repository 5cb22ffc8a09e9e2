/** Lists that stay at one revision, and watches that miss nothing. */
import assert from "node:assert/strict";
import { OutOfRange, InvalidArgument, Unavailable } from "../../../../lib/errors.ts";
import { keyOf, metaOf } from "../../../../api-server/kinds/kind.ts";
import { virtualMachines } from "../../../../api-server/kinds/table.ts";
import type { VirtualMachine } from "../../../../gen/drover/v1/virtual_machine.ts";
import type { Objects, WatchEvent } from "../../../../api-server/objects.ts";
import { Compacted, FutureRevision } from "../../../../api-server/store/store.ts";
import { callBy, faultPaths, machine, makeObjects, refusedAs, user, version } from "../fixture.ts";

const names = (items: VirtualMachine[]) => items.map((vm) => metaOf(vm).name);
const create = (objects: Objects, name: string, labels: Record<string, string> = {}) =>
  objects.create(virtualMachines, machine({ name, labels }), callBy(user));
const relabel = (objects: Objects, name: string, labels: Record<string, string>) =>
  objects.change(virtualMachines, { name }, (vm) => ({ ...vm, metadata: { ...metaOf(vm), labels } }), callBy(user));

describe("objects: lists", () => {
  it("pages through one revision while others write", async () => {
    const { objects } = await makeObjects();
    for (const name of ["a", "b", "c", "d", "e"]) await create(objects, name);
    const first = await objects.list(virtualMachines, { pageSize: 2 });
    await create(objects, "bb");
    await relabel(objects, "c", { late: "yes" });
    const second = await objects.list(virtualMachines, { pageSize: 2, pageToken: first.nextPageToken });
    const third = await objects.list(virtualMachines, { pageSize: 2, pageToken: second.nextPageToken });
    assert.deepEqual([first, second, third].flatMap(({ items }) => names(items)), ["a", "b", "c", "d", "e"]);
    assert.deepEqual(metaOf(second.items[0]!).labels, {});
    assert.deepEqual([second.revision, third.revision, third.nextPageToken], [first.revision, first.revision, ""]);
  });

  it("fills filtered pages and goes on where they ended", async () => {
    const { objects } = await makeObjects();
    for (let i = 0; i < 12; i += 1) await create(objects, `m${String(i).padStart(2, "0")}`, { odd: String(i % 2) });
    const first = await objects.list(virtualMachines, { pageSize: 4, labelSelector: "odd=1" });
    const second = await objects.list(virtualMachines, { pageSize: 4, labelSelector: "odd=1", pageToken: first.nextPageToken });
    assert.deepEqual(names(first.items), ["m01", "m03", "m05", "m07"]);
    assert.deepEqual(names(second.items), ["m09", "m11"]);
    assert.equal(second.nextPageToken, "");
  });

  it("selects by field and by namespace", async () => {
    const { objects } = await makeObjects();
    await create(objects, "a");
    await create(objects, "b");
    const list = async (fieldSelector: string) => names((await objects.list(virtualMachines, { fieldSelector })).items);
    assert.deepEqual(await list("metadata.name=a"), ["a"]);
    assert.deepEqual(await list("status.power.intent=POWER_INTENT_RUN,metadata.name!=a"), ["b"]);
    assert.deepEqual(await list("status.ready=true"), []);
    assert.deepEqual((await objects.list(virtualMachines, { namespace: "other" })).items, []);
  });

  it("refuses a token that is garbled, of other selectors, expired or compacted", async () => {
    const { objects, store, clock } = await makeObjects();
    for (const name of ["a", "b", "c"]) await create(objects, name);
    const { nextPageToken: pageToken } = await objects.list(virtualMachines, { pageSize: 1 });
    const list = (options: object) => objects.list(virtualMachines, { pageSize: 1, ...options });
    assert.deepEqual(await faultPaths(list({ pageToken: "nonsense" })), ["page_token"]);
    assert.deepEqual(await faultPaths(list({ pageToken: `${pageToken.slice(0, -3)}AAA` })), ["page_token"]);
    assert.deepEqual(await faultPaths(list({ pageToken, labelSelector: "a=b" })), ["page_token"]);
    assert.deepEqual(await faultPaths(list({ pageToken, namespace: "default" })), ["page_token"]);
    await store.compact(await store.head());
    await create(objects, "d");
    await store.compact(await store.head());
    await assert.rejects(list({ pageToken }), Compacted);
    clock.pass(11 * 60_000);
    await assert.rejects(list({ pageToken }), refusedAs(OutOfRange, "PAGE_TOKEN_EXPIRED"));
  });
});

/** Reads a watch one event at a time. */
function follow(objects: Objects, options: object = {}) {
  const stop = new AbortController();
  const events = objects.watch(virtualMachines, { signal: stop.signal, ...options })[Symbol.asyncIterator]();
  return {
    next: async () => (await events.next()).value as WatchEvent<VirtualMachine>,
    take: async (count: number) => {
      const taken: string[] = [];
      for (let i = 0; i < count; i += 1) taken.push(shown((await events.next()).value as WatchEvent<VirtualMachine>));
      return taken;
    },
    close: async () => {
      stop.abort();
      await events.return?.().catch(() => undefined);
    },
  };
}

const shown = (event: WatchEvent<VirtualMachine>) =>
  event.type === "bookmark" ? "bookmark" : `${event.type} ${metaOf(event.object).name}${event.type === "deleted" ? ` ${event.reason}` : ""}`;

describe("objects: watches", () => {
  it("sends what is there, a bookmark, then changes in order", async () => {
    const { objects } = await makeObjects();
    await create(objects, "a");
    const watch = follow(objects);
    assert.deepEqual(await watch.take(2), ["added a", "bookmark"]);
    await create(objects, "b");
    await relabel(objects, "a", { x: "y" });
    assert.deepEqual(await watch.take(2), ["added b", "modified a"]);
    await watch.close();
  });

  it("resumes from any revision without a gap and without a repeat", async () => {
    const { objects } = await makeObjects();
    const created = await create(objects, "a");
    for (let i = 0; i < 5; i += 1) await relabel(objects, "a", { i: String(i) });
    const watch = follow(objects, { fromRevision: version(created) });
    const seen: string[] = [];
    assert.equal((await watch.next()).type, "bookmark");
    for (let i = 0; i < 5; i += 1) {
      const event = await watch.next();
      assert.ok(event.type === "modified");
      seen.push(metaOf(event.object).labels["i"]!);
    }
    assert.deepEqual(seen, ["0", "1", "2", "3", "4"]);
    await watch.close();
  });

  it("tells an object that leaves or enters the selector as deleted out of scope, or added", async () => {
    const { objects } = await makeObjects();
    await create(objects, "a", { tier: "web" });
    const watch = follow(objects, { labelSelector: "tier=web" });
    assert.deepEqual(await watch.take(2), ["added a", "bookmark"]);
    await relabel(objects, "a", { tier: "db" });
    await relabel(objects, "a", { tier: "db", more: "x" });
    await relabel(objects, "a", { tier: "web" });
    await create(objects, "b", { tier: "db" });
    await relabel(objects, "a", { tier: "web", more: "x" });
    assert.deepEqual(await watch.take(3), ["deleted a out-of-scope", "added a", "modified a"]);
    await watch.close();
  });

  it("says how far it is when nothing comes, also when everything is filtered away", async () => {
    const { objects, clock, store } = await makeObjects();
    const watch = follow(objects, { labelSelector: "tier=web" });
    assert.deepEqual(await watch.take(1), ["bookmark"]);
    const next = watch.next();
    await create(objects, "a");
    await new Promise(setImmediate);
    clock.pass(30_000);
    const event = await next;
    assert.equal(event.type, "bookmark");
    assert.equal(event.revision, await store.head());
    await watch.close();
  });

  it("says it again and again, also after a beat that came while its reader was away", async () => {
    const { objects, clock } = await makeObjects();
    const watch = follow(objects);
    assert.deepEqual(await watch.take(1), ["bookmark"]);
    await create(objects, "a");
    const seen: string[] = [];
    for (const passMs of [0, 30_000, 30_000]) {
      await new Promise(setImmediate);
      clock.pass(passMs);
      seen.push(...(await watch.take(1)));
    }
    assert.deepEqual(seen, ["added a", "bookmark", "bookmark"]);
    const last = watch.take(2);
    await create(objects, "b");
    await new Promise(setImmediate);
    clock.pass(30_000);
    assert.deepEqual(await last, ["added b", "bookmark"]);
    await watch.close();
  });

  it("refuses revisions that are compacted, foreign or stay ahead", async () => {
    const { objects, store, clock } = await makeObjects();
    const a = await create(objects, "a");
    await relabel(objects, "a", { x: "y" });
    await store.compact(await store.head());
    const first = (fromRevision: string) => follow(objects, { fromRevision }).take(1);
    await assert.rejects(first(version(a)), Compacted);
    await assert.rejects(first("other.1"), FutureRevision);
    await assert.rejects(first("nonsense"), FutureRevision);
    const ahead = assert.rejects(first("test.999"), FutureRevision);
    for (let i = 0; i < 60; i += 1) {
      await new Promise(setImmediate);
      clock.pass(100);
    }
    await ahead;
  });

  it("ends with UNAVAILABLE when the server stops", async () => {
    const { objects, stop } = await makeObjects();
    const watch = follow(objects);
    await watch.take(1);
    const next = watch.next();
    stop.abort();
    await assert.rejects(next, Unavailable);
  });

  it("ends cleanly when its reader leaves in the middle", async () => {
    const { objects } = await makeObjects();
    for await (const event of objects.watch(virtualMachines, { signal: new AbortController().signal })) {
      assert.equal(event.type, "bookmark");
      break;
    }
  });

  it("refuses selectors that it cannot read", async () => {
    const { objects } = await makeObjects();
    for (const options of [{ labelSelector: "a in b" }, { fieldSelector: "spec.nothing=1" }, { fieldSelector: "spec.template=1" }]) {
      await assert.rejects(follow(objects, options).next(), InvalidArgument);
    }
  });

  it("keys objects by namespace and name", async () => {
    const { objects } = await makeObjects();
    assert.deepEqual(keyOf(await create(objects, "a")), { namespace: "default", name: "a" });
  });
});
