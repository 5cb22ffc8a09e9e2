import assert from "node:assert/strict";
import { Namespace } from "../../../../gen/drover/v1/namespace.ts";
import { namespaces } from "../../../../api-server/kinds/namespace.ts";
import { Decoded, encodeObject } from "../../../../api-server/records/codec.ts";

const bytesOf = (name: string) => encodeObject(namespaces, Namespace.create({ metadata: { name } }));

describe("decoded objects", () => {
  it("are one for everyone who reads the same bytes of the same version", () => {
    const reads = new Decoded().of(namespaces);
    const value = bytesOf("a");
    const object = reads.read(value, "s.1", true);
    assert.equal(object.metadata?.resourceVersion, "s.1");
    assert.equal(reads.read(value, "s.1", true), object);
    assert.notEqual(reads.read(bytesOf("a"), "s.1", true), object);
  });

  it("carry the version that the reader has them at, such as that of a deletion", () => {
    const reads = new Decoded().of(namespaces);
    const value = bytesOf("a");
    const object = reads.read(value, "s.1", true);
    assert.equal(reads.read(value, "s.2", true).metadata?.resourceVersion, "s.2");
    assert.equal(reads.read(value, "s.1", true), object);
    assert.equal(object.metadata?.resourceVersion, "s.1");
  });

  it("are kept only within their room, the latest of them", () => {
    const [a, b] = [bytesOf("a"), bytesOf("b")];
    const reads = new Decoded(a.length).of(namespaces);
    const first = reads.read(a, "s.1", true);
    const second = reads.read(b, "s.2", true);
    assert.equal(reads.read(b, "s.2", true), second);
    assert.notEqual(reads.read(a, "s.1", true), first);
  });
});
