import assert from "node:assert/strict";
import { basename, join } from "node:path";
import * as fc from "fast-check";
import { DiskFormat, PoolDisk } from "../../../../gen/drover/v1/machine.ts";
import { checkedName, imageName } from "../../../../node-agent/storage/image-name.ts";
import { StorageError } from "../../../../node-agent/storage/storage.ts";

const owner = { namespace: "default", vm: "web", volume: "root" };

describe("imageName", () => {
  it("is the machine's own when the spec gives none", () => {
    assert.equal(imageName(PoolDisk.create(), owner), "default_web_root.qcow2");
    assert.equal(imageName(PoolDisk.create({ format: DiskFormat.RAW }), owner), "default_web_root.raw");
    assert.equal(imageName(PoolDisk.create({ image: "a.img" }), owner), "a.img");
  });
});

describe("checkedName", () => {
  const hostile = [
    "", ".", "..", "../x", "a/b", "/etc/shadow", ".hidden", "-rf", "json:{}", "nbd:host", "a:b", "a b", "a\nb", "a\0b", "ä", "a,b=c", "a".repeat(256),
  ];
  for (const name of hostile) {
    it(`refuses ${JSON.stringify(name.slice(0, 20))}`, () => assert.throws(() => checkedName(name), StorageError));
  }

  it("gives a name only to a file right in the pool", () => {
    const property = fc.property(fc.string({ unit: "grapheme" }), (name) => {
      try {
        checkedName(name);
      } catch (error) {
        assert.ok(error instanceof StorageError);
        return;
      }
      assert.equal(join("/pool", name), `/pool/${name}`);
      assert.equal(basename(name), name);
    });
    fc.assert(property, { numRuns: 500 });
  });
});
