import assert from "node:assert/strict";
import * as fc from "fast-check";
import { LiveValues } from "../../../../api-server/store/sqlite-live.ts";

type Known = { revision: number; value: Uint8Array };

const KEYS = ["a", "a/1", "a/2", "a/20", "a/b/3", "ab/1", "b/1"];
const PREFIXES = ["a", "a/", "a/2", "a/b/", "ab/", "b/1", "c/", ""];
const steps = fc.array(
  fc.record({ key: fc.constantFrom(...KEYS), act: fc.constantFrom("put", "put", "delete", "fill", "get"), size: fc.nat(9) }),
  { maxLength: 40 },
);

describe("live values", () => {
  it("never say anything but what stands, whatever room they have", () => {
    fc.assert(
      fc.property(steps, fc.nat(40), (all, room) => {
        const [live, stands] = [new LiveValues(room), new Map<string, Known>()];
        for (const [index, { key, act, size }] of all.entries()) {
          const now = { revision: index + 1, value: new Uint8Array(size).fill(index) };
          const standing = stands.get(key);
          if (act === "fill") live.fill(key, (standing ?? now).revision, (standing ?? now).value);
          if (act === "put") stands.set(key, now);
          if (act === "delete") stands.delete(key);
          if (act === "put" || act === "delete") live.put(key, now.revision, act === "put" ? now.value : null);
          checkGets(live, stands);
          checkLists(live, stands);
        }
      }),
    );
  });

  it("keep the values that were asked for last, within their room", () => {
    const live = new LiveValues(20);
    for (const [index, key] of ["a/1", "a/2"].entries()) live.put(key, index + 1, new Uint8Array(10));
    live.get("a/1");
    live.put("a/3", 3, new Uint8Array(10));
    assert.deepEqual(["a/1", "a/2", "a/3"].map((key) => live.get(key)?.revision), [1, undefined, 3]);
    assert.equal(live.hasRoom, false);
    assert.equal(live.list("a/", { after: "", limit: 1 })?.more, true);
    assert.equal(live.list("a/", { after: "", limit: 2 }), undefined);
  });

  it("do not take a value that a commit has overtaken on its way from the disk", () => {
    const live = new LiveValues();
    live.present("a/1", 1);
    assert.equal(live.get("a/1"), undefined);
    live.put("a/1", 2, new Uint8Array([2]));
    live.fill("a/1", 1, new Uint8Array([1]));
    assert.deepEqual(live.get("a/1"), { revision: 2, value: new Uint8Array([2]) });
    live.put("a/1", 3, null);
    live.fill("a/1", 2, new Uint8Array([2]));
    assert.equal(live.get("a/1"), null);
  });
});

/** A value may be missing, the knowledge of what stands may not. */
function checkGets(live: LiveValues, stands: Map<string, Known>): void {
  for (const key of KEYS) {
    const [said, standing] = [live.get(key), stands.get(key)];
    if (standing === undefined) assert.equal(said, null);
    else if (said !== undefined) assert.deepEqual(said, standing);
  }
}

function checkLists(live: LiveValues, stands: Map<string, Known>): void {
  const all = [...stands].map(([key, known]) => ({ key, ...known })).sort((x, y) => (x.key < y.key ? -1 : 1));
  for (const prefix of PREFIXES) {
    for (const after of ["", "a/1", "a/5", "z"]) {
      const said = live.list(prefix, { after, limit: 2 });
      const wanted = all.filter(({ key }) => key.startsWith(prefix) && key > after);
      if (said) assert.deepEqual(said, { items: wanted.slice(0, 2), more: wanted.length > 2 });
    }
  }
}
