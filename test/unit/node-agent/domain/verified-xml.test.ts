import assert from "node:assert/strict";
import { element, InvalidDomain } from "../../../../node-agent/domain/element.ts";
import type { Element } from "../../../../node-agent/domain/element.ts";
import { checkSame, verifiedXml } from "../../../../node-agent/domain/verified-xml.ts";
import { parseXml } from "../../../../node-agent/door/xml-tree.ts";
import { Unintended } from "../../../../node-agent/door/tree-check.ts";

/** A domain with as little in it as the allow-list knows. */
const domain = (devices: Element[] = [], rest: Element[] = []): Element =>
  element("domain", { type: "qemu" }, [
    element("name", {}, ["web"]),
    element("uuid", {}, ["5a6b0b2e-0e0c-4f5e-9d3a-0a4b8c1d2e3f"]),
    element("metadata", {}, [
      element("drover:instance", { "xmlns:drover": "https://drover.dev/domain/1", namespace: "n", vm: "v", vmUid: "u", vmiUid: "i", epoch: 1, generation: 1 }),
    ]),
    element("memory", { unit: "KiB" }, ["1024"]),
    element("vcpu", { placement: "static" }, ["1"]),
    element("os", {}, [element("type", { arch: "x86_64", machine: "pc" }, ["hvm"])]),
    element("devices", {}, [element("emulator", {}, ["/usr/bin/qemu-system-x86_64"]), ...devices]),
    ...rest,
  ]);

describe("verifiedXml", () => {
  it("gives the text of a domain that says what was meant", () => {
    assert.match(verifiedXml(domain()), /^<domain type="qemu">/);
  });

  const strange: [string, Element][] = [
    ["QEMU arguments", domain([], [element("qemu:commandline", { "xmlns:qemu": "http://libvirt.org/schemas/domain/qemu/1.0" }, [element("qemu:arg", { value: "-s" })])])],
    ["a security label", domain([], [element("seclabel", { type: "none" })])],
    ["a host device", domain([element("hostdev", { mode: "subsystem", type: "pci" })])],
    ["a shared directory", domain([element("filesystem", { type: "mount" })])],
    ["a script", domain([element("interface", { type: "user" }, [element("mac", { address: "02:00:00:00:00:01" }), element("script", { path: "/tmp/x" })])])],
    ["a serial port to a file", domain([element("serial", { type: "file" }, [element("source", { path: "/etc/cron.d/x" })])])],
    ["a secret's place", domain([], [element("launchSecurity", { type: "sev" })])],
  ];
  for (const [what, tree] of strange) {
    it(`refuses ${what}, whoever put it there`, () => assert.throws(() => verifiedXml(tree), InvalidDomain));
  }

  it("tells every difference between what was read and what was meant", () => {
    const meant = parseXml("<a x='1'><b>text</b><c/></a>");
    const others = ["<z x='1'><b>text</b><c/></z>", "<a x='2'><b>text</b><c/></a>", "<a><b>text</b><c/></a>", "<a x='1' y='1'><b>text</b><c/></a>", "<a x='1'><b>other</b><c/></a>", "<a x='1'><b>text</b></a>", "<a x='1'><b>text</b><c/><c/></a>", "<a x='1'><c/><b>text</b></a>"];
    checkSame(parseXml("<a  x='1'> <b>text</b> <c></c> </a>"), meant, "a");
    for (const other of others) assert.throws(() => checkSame(parseXml(other), meant, "a"), Unintended, other);
  });
});
