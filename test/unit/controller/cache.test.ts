import assert from "node:assert/strict";
import { ObjectMeta } from "../../../gen/drover/v1/meta.ts";
import { Cache } from "../../../controller/cache.ts";
import type { Named } from "../../../controller/objects.ts";

type Thing = Named & { on: string };
const thing = (name: string, revision: number, on = "a"): Thing => ({ metadata: ObjectMeta.create({ name, resourceVersion: `s.${revision}` }), on });
const put = (object: Thing) => ({ type: "put" as const, object, revision: object.metadata.resourceVersion });
const things = () => new Cache<Thing, "on">({ on: ({ on }) => [on] });

describe("the cache", () => {
  it("never goes back behind an own write", () => {
    const cache = things();
    cache.apply(put(thing("x", 1)));
    cache.wrote(thing("x", 5, "b"));
    cache.apply(put(thing("x", 3, "c")));
    assert.equal(cache.get("x")?.on, "b");
    cache.apply(put(thing("x", 7, "d")));
    assert.equal(cache.get("x")?.on, "d");
  });

  it("does not bring back what the watch has seen go", () => {
    const cache = things();
    cache.apply(put(thing("x", 1)));
    cache.apply({ type: "gone", object: thing("x", 1), revision: "s.6" });
    cache.wrote(thing("x", 5));
    assert.equal(cache.get("x"), undefined);
  });

  it("keeps own writes that are later than a list, and drops what the list lacks", () => {
    const cache = things();
    cache.wrote(thing("mine", 9));
    cache.apply(put(thing("gone", 3)));
    cache.replace([thing("listed", 2)], "s.8");
    assert.deepEqual(cache.list().map(({ metadata }) => metadata.name).sort((a, b) => a.localeCompare(b)), ["listed", "mine"]);
  });

  it("takes another store's word for everything", () => {
    const cache = things();
    cache.apply(put(thing("x", 900)));
    const restored = { ...thing("x", 1, "b"), metadata: ObjectMeta.create({ name: "x", resourceVersion: "t.1" }) };
    cache.replace([restored], "t.1");
    assert.equal(cache.get("x")?.on, "b");
  });

  it("files objects by their indexes and tells of each change", () => {
    const cache = things();
    const seen: string[] = [];
    cache.onChange(({ key, before, after }) => seen.push(`${key}: ${before?.on ?? "-"} ${after?.on ?? "-"}`));
    cache.apply(put(thing("x", 1)));
    cache.apply(put(thing("x", 2, "b")));
    assert.deepEqual([cache.by("on", "a").length, cache.by("on", "b").length], [0, 1]);
    cache.apply({ type: "gone", object: thing("x", 2), revision: "s.3" });
    assert.deepEqual(cache.by("on", "b"), []);
    assert.deepEqual(seen, ["x: - a", "x: a b", "x: b -"]);
  });
});
