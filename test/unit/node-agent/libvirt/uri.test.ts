import assert from "node:assert/strict";
import { isTestDriver, localSockets } from "../../../../node-agent/libvirt/uri.ts";

describe("libvirt URIs", () => {
  it("name the sockets of a local daemon, and none of another", () => {
    assert.deepEqual(localSockets("qemu:///system?socket=/tmp/x/libvirt-sock"), ["/tmp/x/libvirt-sock"]);
    assert.deepEqual(localSockets("qemu:///system"), ["/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"]);
    for (const uri of ["qemu+tls://host/system", "qemu+tcp://10.0.0.1/system", "test:///default"]) assert.deepEqual(localSockets(uri), []);
  });

  it("tell the test driver", () => {
    assert.ok(isTestDriver("test:///default"));
    assert.ok(!isTestDriver("qemu:///system"));
  });
});
