import assert from "node:assert/strict";
import { XMLParser } from "fast-xml-parser";
import * as fc from "fast-check";
import { Disk, DiskCache, Interface, Network } from "../../../../gen/drover/v1/machine.ts";
import { domainXml } from "../../../../node-agent/domain/domain-xml.ts";
import { InvalidDomain } from "../../../../node-agent/domain/element.ts";
import type { DomainParts } from "../../../../node-agent/domain/parts.ts";
import { DOMAIN_UUID, everything, instance, parts, prepared } from "./build.ts";

const parser = new XMLParser({ preserveOrder: true, ignoreAttributes: false, attributeNamePrefix: "", parseTagValue: false, parseAttributeValue: false, trimValues: false });
type Node = Record<string, unknown>;

/** Every element and attribute by its path, with its text. */
function flatten(nodes: Node[], path = ""): [string, string][] {
  return nodes.flatMap((node) => {
    const name = Object.keys(node).find((key) => key !== ":@")!;
    if (name === "#text") return String(node[name]).trim() === "" ? [] : [[path, String(node[name])] as [string, string]];
    const here = `${path}/${name}`;
    const attributes = Object.entries((node[":@"] ?? {}) as Record<string, string>).map(([key, value]) => [`${here}@${key}`, value] as [string, string]);
    return [[here, ""] as [string, string], ...attributes, ...flatten(node[name] as Node[], here)];
  });
}
const read = (xml: string) => flatten(parser.parse(xml) as Node[]);
const valuesAt = (xml: string, path: string) => read(xml).filter(([at, value]) => at === path && (path.includes("@") || value !== "")).map(([, value]) => value);
const has = (xml: string, path: string) => read(xml).some(([at]) => at === path);

describe("domainXml", () => {
  it("names the domain by its machine and gives it the epoch", () => {
    const xml = domainXml(parts());
    assert.deepEqual(valuesAt(xml, "/domain/name"), ["default_web_aaaaaaaa"]);
    assert.deepEqual(valuesAt(xml, "/domain/uuid"), [DOMAIN_UUID]);
    assert.deepEqual(valuesAt(xml, "/domain/metadata/drover:instance@epoch"), ["3"]);
    assert.deepEqual(valuesAt(xml, "/domain/metadata/drover:instance@generation"), ["7"]);
    assert.deepEqual(valuesAt(xml, "/domain/memory"), ["131072"]);
    assert.deepEqual(valuesAt(xml, "/domain@type"), ["qemu"]);
  });

  it("is the same each time it is built", () => {
    const build = () => domainXml(everything({ machineType: "pc-q35-7.2", pool: "/pool" }));
    assert.equal(build(), build());
  });

  it("counts device names for each prefix and spells the backing chain out", () => {
    const xml = domainXml(everything({ machineType: "pc-q35-7.2", pool: "/pool" }));
    assert.deepEqual(valuesAt(xml, "/domain/devices/disk/target@dev"), ["vda", "sda", "sdb", "sdc", "sdd"]);
    assert.deepEqual(valuesAt(xml, "/domain/devices/disk/backingStore/source@file"), ["/pool/base.qcow2"]);
    assert.equal(read(xml).filter(([at]) => at === "/domain/devices/disk/backingStore").length, 5);
    assert.equal(read(xml).filter(([at]) => at === "/domain/devices/disk/readonly").length, 2);
  });

  it("goes past the page cache unless the spec wants it", () => {
    const cacheOf = (cache: DiskCache) => {
      const made = instance({ devices: { disks: [Disk.create({ name: "root", cache })] } });
      const xml = domainXml(parts({ instance: made, prepared: prepared({ disks: { root: { path: "/p/a", format: "raw", kind: "pool" } } }) }));
      return [valuesAt(xml, "/domain/devices/disk/driver@cache"), valuesAt(xml, "/domain/devices/disk/driver@io")].flat();
    };
    assert.deepEqual(cacheOf(DiskCache.UNSPECIFIED), ["none", "native"]);
    assert.deepEqual(cacheOf(DiskCache.WRITEBACK), ["writeback"]);
    assert.deepEqual(cacheOf(DiskCache.WRITETHROUGH), ["writethrough"]);
  });

  it("keeps eight ports free on q35 and has none on i440fx", () => {
    const ports = (xml: string) => valuesAt(xml, "/domain/devices/controller@model").filter((model) => model === "pcie-root-port").length;
    const disks = Array.from({ length: 5 }, (_, index) => Disk.create({ name: `d${index}` }));
    const sources = Object.fromEntries(disks.map(({ name }) => [name, { path: `/p/${name}`, format: "raw", kind: "pool" }] as const));
    const with5 = domainXml(parts({ instance: instance({ devices: { disks } }), prepared: prepared({ disks: sources }) }));
    assert.equal(ports(with5) - ports(domainXml(parts())), 5);
    assert.ok(ports(domainXml(parts())) >= 8 + 4);
    assert.equal(ports(domainXml(everything({ machineType: "pc-i440fx-7.2", pool: "/pool" }))), 0);
  });

  it("leaves out what the spec switches off", () => {
    const xml = domainXml(parts({ instance: instance({ devices: { autoattachGraphicsDevice: false, autoattachSerialConsole: false } }) }));
    for (const device of ["graphics", "video", "serial", "console", "rng", "input"]) assert.equal(has(xml, `/domain/devices/${device}`), false, device);
    assert.ok(has(domainXml(parts()), "/domain/devices/graphics/listen"));
  });

  it("checks a named model only where the processor is real", () => {
    const check = (accelerator: DomainParts["accelerator"]) => valuesAt(domainXml(parts({ accelerator })), "/domain/cpu@check");
    assert.deepEqual(check("qemu"), ["none"]);
    assert.deepEqual(check("kvm"), ["partial"]);
    assert.deepEqual(valuesAt(domainXml(parts()), "/domain/cpu/model@fallback"), ["forbid"]);
  });

  it("maps every kind of network", () => {
    const connect = (source: Network["source"]) => {
      const made = instance(
        { devices: { interfaces: [Interface.create({ name: "n", macAddress: "02:00:00:00:00:01" })] } },
        { networks: [Network.create({ name: "n", source })] },
      );
      return read(domainXml(parts({ instance: made }))).filter(([at]) => /interface(\/source)?@/.test(at)).map(([, value]) => value);
    };
    assert.deepEqual(connect({ $case: "pod", value: {} }), ["user"]);
    assert.deepEqual(connect({ $case: "user", value: {} }), ["user"]);
    assert.deepEqual(connect({ $case: "bridge", value: { bridgeName: "br0" } }), ["bridge", "br0"]);
    assert.deepEqual(connect({ $case: "libvirt", value: { networkName: "lan" } }), ["network", "lan"]);
    assert.throws(() => connect(undefined), InvalidDomain);
  });

  it("refuses what it cannot make a domain of", () => {
    const disk = instance({ devices: { disks: [Disk.create({ name: "constructor" })] } });
    assert.throws(() => domainXml(parts({ instance: disk })), /there is no volume of this name/);
    assert.throws(() => domainXml(parts({ instance: instance({ firmware: { bootloader: { firmware: { $case: "efi", value: {} } } } }) })), /no OVMF/);
    const card = instance({ devices: { interfaces: [Interface.create({ name: "n" })] } });
    assert.throws(() => domainXml(parts({ instance: card })), /no MAC address/);
  });
});

/** A machine with the given text in every place that takes text, allowed there or not; `word` where libvirt wants a word. */
function filledWith(text: string, word = text): DomainParts {
  const made = instance(
    {
      cpu: { model: word },
      machine: { type: text },
      clock: { base: { $case: "timezone", value: text } },
      firmware: { serial: text, bootloader: { firmware: { $case: "efi", value: {} } }, kernelBoot: { pool: text, kernel: text, initrd: text, kernelArgs: text } },
      devices: {
        disks: [Disk.create({ name: word, serial: text })],
        interfaces: [Interface.create({ name: word, macAddress: text }), Interface.create({ name: `${word}2`, macAddress: text })],
        rng: {},
      },
    },
    {
      networks: [
        Network.create({ name: word, source: { $case: "bridge", value: { bridgeName: text } } }),
        Network.create({ name: `${word}2`, source: { $case: "libvirt", value: { networkName: text } } }),
      ],
    },
  );
  made.metadata!.name = text;
  made.metadata!.namespace = text;
  made.metadata!.uid = text;
  made.metadata!.ownerReferences = [{ kind: "VirtualMachine", name: text, uid: text }];
  made.spec!.domain!.firmware!.uuid = text;
  made.status!.hardware = undefined;
  const files = { directory: text, consoleSocket: text, consoleLog: text, nvram: text };
  const disks = Object.fromEntries([[word, { path: text, format: "raw", kind: "pool", base: { path: text, format: "qcow2" } } as const]]);
  const machine = { paths: files, disks, kernel: { kernel: text, initrd: text }, firmware: { loader: text, nvramTemplate: text } };
  return parts({ instance: made, prepared: machine, emulator: text, architecture: text });
}

describe("domainXml with any text", () => {
  const reference = read(domainXml(filledWith("placeholder", "word")));
  const nasty = ["\"'<>&]]>", "]]><script/>", "&lt;", "&#60;", "<!--", "--><a>", "true", "0x10", "<?xml?>", "${x}", "$&", "__proto__", "a b"];
  const text = fc.oneof(fc.string({ unit: "grapheme", minLength: 1 }), fc.constantFrom(...nasty), fc.array(fc.constantFrom(...nasty), { minLength: 1 }).map((all) => all.join("")));

  it("has the same elements and attributes, and each text survives", () => {
    let built = 0;
    const property = fc.property(text, (value) => {
      // Not to be told apart from "nothing" when an XML is read back.
      fc.pre(value.trim() !== "");
      let xml: string;
      try {
        xml = domainXml(filledWith(value, "word"));
      } catch (error) {
        assert.ok(error instanceof InvalidDomain);
        assert.match(error.message, /control characters/);
        return;
      }
      built += 1;
      const found = read(xml);
      assert.deepEqual(found.map(([at]) => at), reference.map(([at]) => at));
      reference.forEach(([at, expected], index) => {
        if (expected === "placeholder" && at !== "/domain/uuid") assert.equal(found[index]![1], value, at);
      });
    });
    fc.assert(property, { numRuns: 300 });
    assert.ok(built > 100, `only ${built} texts were built`);
  });

  it("refuses what is no word where there can be nothing else", () => {
    for (const bad of ["\"'<>&]]>", "a b", "${x}", "/etc/shadow"]) {
      assert.throws(() => domainXml(filledWith("text", bad)), (error) => error instanceof InvalidDomain && error.message.includes("would not say what was meant"), bad);
    }
  });

  it("refuses control characters anywhere", () => {
    for (const bad of ["\u0000", "\n", "\t", "\u001b", "\u007f", "\u0085", "\ufffe", "\ud800"]) {
      assert.throws(() => domainXml(filledWith(`a${bad}b`)), InvalidDomain, JSON.stringify(bad));
    }
  });
});
