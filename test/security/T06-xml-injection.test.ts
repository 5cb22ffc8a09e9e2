/** T6: text in a spec becomes text in a domain, and never anything else. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { domainXml } from "../../node-agent/domain/domain-xml.ts";
import { InvalidDomain } from "../../node-agent/domain/element.ts";
import type { Element } from "../../node-agent/domain/element.ts";
import { elementsOf, parseXml } from "../../node-agent/door/xml-tree.ts";
import type { DomainParts } from "../../node-agent/domain/parts.ts";
import { everything } from "../unit/node-agent/domain/build.ts";

const HOSTILE = ["\"", "'", "<", ">", "&", "]]>", "<!--", "-->", "<![CDATA[", "<?x?>", "&lt;", "&#60;", "&#x0;", "'/><hostdev/><x y='", "\u0000", "\u0001", "\n", "\r", "\t", "\u001b", "\u007f", "\u0085", "\u2028", "\ufffe", "\ud800", "a", " "];
const hostile = fc.array(fc.constantFrom(...HOSTILE), { minLength: 1, maxLength: 12 }).map((parts) => parts.join(""));

const parts = () => {
  const made = everything({ machineType: "pc-q35-7.2", pool: "/pool" });
  made.instance.spec!.domain!.firmware!.kernelBoot = { pool: "main", kernel: "vmlinuz", initrd: "initrd", kernelArgs: "quiet" };
  return { ...made, prepared: { ...made.prepared, kernel: { kernel: "/pool/vmlinuz", initrd: "/pool/initrd" } } };
};

/** Every place of the instance that holds text, as a way to put another text there. */
function places(value: unknown, path = ""): { path: string; put: (text: string) => void }[] {
  if (typeof value !== "object" || value === null) return [];
  const holder = value as Record<string, unknown>;
  return Object.keys(holder).flatMap((key) => {
    const here = `${path}.${key}`;
    if (typeof holder[key] === "string" && key !== "$case") return [{ path: here, put: (text: string) => void (holder[key] = text) }];
    return places(holder[key], here);
  });
}

const shape = (element: Element, path = ""): string[] => {
  const here = `${path}/${element.name}`;
  return [here, ...Object.keys(element.attributes).map((key) => `${here}@${key}`), ...elementsOf(element).flatMap((child) => shape(child, here))];
};

describe("T6: XML injection", function () {
  this.timeout(120_000);

  const expected = new Set(shape(parseXml(domainXml(parts()))));
  const count = places(parts().instance).length;

  it("no text at any place of an instance adds or moves an element or attribute", () => {
    assert.ok(count > 30, `only ${count} places`);
    let built = 0;
    const property = fc.property(fc.nat(count - 1), hostile, (index, text) => {
      const attacked: DomainParts = parts();
      const place = places(attacked.instance)[index]!;
      place.put(text);
      let xml: string;
      try {
        xml = domainXml(attacked);
      } catch (error) {
        if (error instanceof InvalidDomain || (error instanceof RangeError && place.path.endsWith("memory.guest"))) return;
        assert.fail(`${place.path}: ${String(error)}`);
      }
      built += 1;
      // Without a value a part may be left out; none may come.
      assert.deepEqual(shape(parseXml(xml)).filter((path) => !expected.has(path)), [], `${place.path}: ${JSON.stringify(text)}`);
    });
    fc.assert(property, { numRuns: 3000 });
    assert.ok(built > 200, `only ${built} domains were made`);
  });
});
