import assert from "node:assert/strict";
import * as fc from "fast-check";
import { domainXml } from "../../../../node-agent/domain/domain-xml.ts";
import { InvalidDomain } from "../../../../node-agent/domain/element.ts";
import { instanceMetadata, parseInstanceMetadata, replaceEpoch } from "../../../../node-agent/domain/metadata.ts";
import { droverElement } from "../../../../node-agent/libvirt/metadata.ts";
import { parts, VM_UID, VMI_UID } from "./build.ts";

const metadata = { namespace: "default", vm: "web", vmUid: VM_UID, vmiUid: VMI_UID, epoch: 3, generation: 7 };

describe("a domain's metadata", () => {
  it("comes back as it was written", () => {
    const word = fc.string({ unit: "grapheme-ascii", minLength: 1 }).filter((text) => text.trim() === text && text !== "");
    const any = fc.record({ namespace: word, vm: word, vmUid: word, vmiUid: word, epoch: fc.nat(), generation: fc.nat() }, { noNullPrototype: true });
    fc.assert(fc.property(any, (one) => assert.deepEqual(parseInstanceMetadata(instanceMetadata(one)), one)));
  });

  it("is nothing when it is not Drover's, incomplete, or no XML", () => {
    const texts = [undefined, "", "<a/>", "<drover:instance", "<drover:instance epoch='1'/>", instanceMetadata(metadata).replace('epoch="3"', 'epoch="x"')];
    for (const text of texts) assert.equal(parseInstanceMetadata(text), undefined, text);
  });

  it("is found in the domain that was built with it", () => {
    assert.deepEqual(parseInstanceMetadata(droverElement(domainXml(parts()))), metadata);
  });

  it("changes its epoch and nothing else", () => {
    const xml = domainXml(parts());
    assert.equal(replaceEpoch(xml, 4), xml.replace('epoch="3"', 'epoch="4"'));
    assert.equal(replaceEpoch(replaceEpoch(xml, 4), 3), xml);
  });

  it("keeps what a newer version added", () => {
    const newer = domainXml(parts()).replace('epoch="3"', 'epoch="3" later="yes"');
    assert.match(replaceEpoch(newer, 4), /epoch="4" later="yes"/);
  });

  it("refuses a domain that carries none", () => {
    assert.throws(() => replaceEpoch("<domain>\n  <metadata>\n  </metadata>\n</domain>", 4), InvalidDomain);
  });
});
