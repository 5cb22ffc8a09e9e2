/**
 * XML as a tree, written out by a library: whatever a value holds, it stays inside its attribute or text (pure). What
 * XML cannot carry at all is refused here, so that no device has to think of it.
 */
import { XMLBuilder } from "fast-xml-parser";

export type Element = { name: string; attributes: Record<string, string>; children: (Element | string)[] };

type Value = string | number | undefined;
type Child = Element | string | undefined | false;

/** The domain cannot be made from this machine; the message says which part of it is at fault. */
export class InvalidDomain extends Error {
  override name = "InvalidDomain";
}

/** Attributes without a value and children that are absent are left out. */
export function element(name: string, attributes: Record<string, Value> = {}, children: Child[] = []): Element {
  const present = Object.entries(attributes).filter((entry): entry is [string, string | number] => entry[1] !== undefined);
  return {
    name,
    attributes: Object.fromEntries(present.map(([key, value]) => [key, String(value)])),
    children: children.filter((child) => child !== undefined && child !== false),
  };
}

/** C0 and C1 controls, line ends included, halves of surrogate pairs and the two non-characters of XML 1.0. */
// oxlint-disable-next-line no-control-regex
const UNWRITABLE = /[\u0000-\u001f\u007f-\u009f\ufffe\uffff]|\p{Surrogate}/u;

const ATTRIBUTE = "@";
const builder = new XMLBuilder({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: ATTRIBUTE,
  suppressEmptyNode: true,
  format: true,
  indentBy: "  ",
});

export function serialize(root: Element): string {
  return (builder.build([ordered(root)]) as string).trim();
}

/** The library's form of a tree that keeps its order. */
function ordered({ name, attributes, children }: Element): Record<string, unknown> {
  const checked = Object.entries(attributes).map(([key, value]) => [ATTRIBUTE + key, writable(value, `${name} ${key}`)]);
  return {
    [name]: children.map((child) => (typeof child === "string" ? { "#text": writable(child, name) } : ordered(child))),
    ":@": Object.fromEntries(checked),
  };
}

function writable(text: string, where: string): string {
  if (UNWRITABLE.test(text)) throw new InvalidDomain(`Cannot write "${where}" of the domain: it contains control characters`);
  return text;
}
