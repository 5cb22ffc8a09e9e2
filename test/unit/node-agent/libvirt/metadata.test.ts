import assert from "node:assert/strict";
import * as fc from "fast-check";
import { droverElement, METADATA_URI, withNamespace, withoutNamespace } from "../../../../node-agent/libvirt/metadata.ts";

const domainOf = (...elements: string[]) =>
  `<domain type='kvm'>\n  <name>one</name>\n  <metadata>\n${elements.map((one) => `    ${one}\n`).join("")}  </metadata>\n  <os/>\n</domain>\n`;
const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");

describe("Drover's metadata element", () => {
  it("is found whole among other owners' elements, whatever its values hold", () => {
    const value = fc.string({ unit: fc.constantFrom("<", ">", "/", "'", '"', "a", " ", "drover:instance", "]]>") }).map(escaped);
    fc.assert(
      fc.property(value, value, fc.boolean(), (one, two, nested) => {
        const mine = nested
          ? `<drover:instance xmlns:drover="${METADATA_URI}" a="${one}"><drover:x b="${two}">${two}</drover:x></drover:instance>`
          : `<drover:instance xmlns:drover="${METADATA_URI}" a="${one}" b="${two}"/>`;
        const before = `<x:y xmlns:x="urn:x" c="${two}"><x:z/></x:y>`;
        assert.equal(droverElement(domainOf(before, mine, before)), mine);
        assert.equal(droverElement(domainOf(before)), undefined);
      }),
    );
  });

  it("is absent where there is no metadata, or only another namespace with the same prefix", () => {
    assert.equal(droverElement("<domain>\n  <name>one</name>\n</domain>"), undefined);
    assert.equal(droverElement(domainOf('<drover:instance xmlns:drover="urn:other"/>')), undefined);
    assert.equal(droverElement(domainOf(`<o:x xmlns:o="urn:o"><drover:instance xmlns:drover="${METADATA_URI}"/></o:x>`)), undefined);
  });

  it("comes back as it was when libvirt gives it without its namespace", () => {
    const value = fc.string({ unit: fc.constantFrom("<", ">", "/", "'", '"', "a", " ", "drover:instance") }).map(escaped);
    fc.assert(
      fc.property(value, fc.boolean(), (text, nested) => {
        const content = nested ? `><drover:x b="${text}">${text}<o:y xmlns:o="urn:o"/></drover:x></drover:instance>` : "/>";
        const mine = `<drover:instance xmlns:drover="${METADATA_URI}" a="${text}"${content}`;
        assert.equal(withNamespace(withoutNamespace(mine)), mine);
      }),
    );
  });

  it("loses prefix and namespace for libvirt, and nothing of its values", () => {
    assert.equal(
      withoutNamespace(`<drover:instance xmlns:drover="${METADATA_URI}" a="drover:x &lt;drover:y"><drover:z>drover:t</drover:z></drover:instance>`),
      `<instance a="drover:x &lt;drover:y"><z>drover:t</z></instance>`,
    );
  });
});
