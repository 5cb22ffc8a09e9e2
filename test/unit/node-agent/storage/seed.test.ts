import assert from "node:assert/strict";
import * as fc from "fast-check";
import { CloudInitNoCloud } from "../../../../gen/drover/v1/machine.ts";
import { isoImage } from "../../../../node-agent/storage/iso9660.ts";
import { seedIso } from "../../../../node-agent/storage/seed.ts";

const SECTOR = 2048;
type Naming = "plain" | "joliet";

/** Reads an image as a kernel does: descriptors from sector 16, then the root's records. */
function read(image: Buffer, naming: Naming): { label: string; files: Record<string, string> } {
  const text = (bytes: Buffer) => (naming === "joliet" ? Buffer.from(bytes).swap16().toString("utf16le") : bytes.toString("latin1"));
  for (let sector = 16; ; sector += 1) {
    const descriptor = image.subarray(sector * SECTOR, (sector + 1) * SECTOR);
    assert.equal(descriptor.toString("latin1", 1, 6), "CD001");
    assert.notEqual(descriptor[0], 255, `there is no ${naming} volume`);
    if (descriptor[0] !== (naming === "joliet" ? 2 : 1)) continue;
    assert.equal(descriptor.readUInt32LE(80) * SECTOR, image.length);
    assert.equal(descriptor.readUInt32BE(84) * SECTOR, image.length);
    const root = descriptor.subarray(156);
    const directory = image.subarray(root.readUInt32LE(2) * SECTOR).subarray(0, root.readUInt32LE(10));
    const files: Record<string, string> = {};
    for (let at = 0; directory[at]! > 0; at += directory[at]!) {
      const record = directory.subarray(at, at + directory[at]!);
      const name = record.subarray(33, 33 + record[32]!);
      if ((record[25]! & 2) !== 0) continue;
      const start = record.readUInt32LE(2) * SECTOR;
      files[text(name)] = image.toString("utf8", start, start + record.readUInt32LE(10));
    }
    return { label: text(descriptor.subarray(40, 72)).trimEnd(), files };
  }
}

describe("isoImage", () => {
  it("holds the same files under both namings", () => {
    const image = isoImage("cidata", [{ name: "user-data", content: Buffer.from("hello") }]);
    assert.deepEqual(read(image, "joliet"), { label: "cidata", files: { "user-data": "hello" } });
    assert.deepEqual(read(image, "plain"), { label: "CIDATA", files: { "USER-DATA.;1": "hello" } });
  });

  it("holds files of any size, none of them over another", () => {
    const sizes = fc.array(fc.nat({ max: 3 * SECTOR + 1 }), { minLength: 1, maxLength: 8 });
    const property = fc.property(sizes, (lengths) => {
      const files = lengths.map((length, index) => ({ name: `file-${index}`, content: Buffer.alloc(length, 97 + index) }));
      const expected = Object.fromEntries(files.map(({ name, content }) => [name, content.toString()]));
      assert.deepEqual(read(isoImage("x", files), "joliet").files, expected);
    });
    fc.assert(property, { numRuns: 50 });
  });
});

describe("seedIso", () => {
  const data = CloudInitNoCloud.create({ userData: { value: "#cloud-config\nünïcode: 1\n" }, networkData: { value: "version: 2\n" } });
  const machine = { vm: "web", vmUid: "some-uid" };

  it("has the files of NoCloud", () => {
    assert.deepEqual(read(seedIso(data, machine), "joliet"), {
      label: "cidata",
      files: { "meta-data": "instance-id: some-uid\nlocal-hostname: web\n", "network-config": "version: 2\n", "user-data": "#cloud-config\nünïcode: 1\n" },
    });
  });

  it("leaves the network alone when nothing is said of it, and always has user-data", () => {
    const { files } = read(seedIso(CloudInitNoCloud.create({}), machine), "joliet");
    assert.deepEqual(Object.keys(files), ["meta-data", "user-data"]);
  });

  it("is the same on every host", () => {
    assert.ok(seedIso(data, machine).equals(seedIso(data, machine)));
  });
});
