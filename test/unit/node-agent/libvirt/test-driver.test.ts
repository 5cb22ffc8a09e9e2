import assert from "node:assert/strict";
import { forTestDriver } from "../../../../node-agent/libvirt/test-driver.ts";

describe("libvirt's test driver as a host", () => {
  it("gives a domain the type and architecture that the test driver takes, and touches nothing else", () => {
    const xml = `<domain type="qemu">\n<name>qemu</name><os><type arch="x86_64" machine="pc-q35-7.2">hvm</type></os><disk type='file'/></domain>`;
    assert.equal(forTestDriver(xml), `<domain type='test'>\n<name>qemu</name><os><type arch='i686'>hvm</type></os><disk type='file'/></domain>`);
  });
});
