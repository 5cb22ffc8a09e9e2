/**
 * A domain's text that is known to say what was meant (pure): it is read back by a parser that shares no code with the
 * writer, compared part by part with the tree that it was written from, and held against the list of what a domain of
 * Drover may be made of at all. A fault in escaping, or in a device that is still to come, ends here and not in libvirt.
 */
import { checkDomain, intendedOf } from "../door/domain-check.ts";
import { InvalidDomain, serialize } from "./element.ts";
import type { Element } from "./element.ts";
import { Unintended } from "../door/tree-check.ts";
import { BadXml, childOf, elementsOf, parseXml, textOf } from "../door/xml-tree.ts";

/** What a device may be, where another answer would give the guest something else of the host than a disk image or a socket. */
const TYPES: Readonly<Record<string, readonly string[]>> = {
  disk: ["file"],
  interface: ["bridge", "network", "user"],
  serial: ["unix"],
  console: ["unix"],
  channel: ["unix"],
  graphics: ["vnc"],
};

/** Throws InvalidDomain when the text would say anything else. */
export function verifiedXml(intended: Element): string {
  const text = serialize(intended);
  try {
    const read = parseXml(text);
    checkSame(read, intended, intended.name);
    checkDomain(read, intendedOf(read));
    checkDevices(elementsOf(childOf(read, "devices")!));
    checkOnce(elementsOf(read));
  } catch (cause) {
    if (!(cause instanceof BadXml || cause instanceof Unintended)) throw cause;
    throw new InvalidDomain(`Cannot make the domain: its XML would not say what was meant: ${cause.message}`, { cause });
  }
  return text;
}

function checkDevices(devices: readonly Element[]): void {
  checkOnce(devices.filter(({ name }) => name === "emulator"));
  for (const { name, attributes: { type = "" } } of devices) {
    if (Object.hasOwn(TYPES, name) && !TYPES[name]!.includes(type)) throw new Unintended(`A ${name} cannot be of type "${type}"`);
  }
}

/** Of two, nobody could say which one counts. */
function checkOnce(elements: readonly Element[]): void {
  const names = elements.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new Unintended(`${twice} is there twice`);
}

/** Text around elements is layout; of a value, every character counts. */
export function checkSame(read: Element, intended: Element, path: string): void {
  if (read.name !== intended.name) throw new Unintended(`${path} is read as ${read.name}`);
  const [names, intendedNames] = [read, intended].map(({ attributes }) => Object.keys(attributes).sort().join(" "));
  if (names !== intendedNames) throw new Unintended(`${path} is read with the attributes "${names}"`);
  const changed = Object.keys(intended.attributes).find((key) => read.attributes[key] !== intended.attributes[key]);
  if (changed !== undefined) throw new Unintended(`${path} is read with another ${changed}`);
  const [children, intendedChildren] = [elementsOf(read), elementsOf(intended)];
  if (children.length !== intendedChildren.length) throw new Unintended(`${path} is read with ${children.length} parts`);
  if (valueOf(read) !== valueOf(intended)) throw new Unintended(`${path} is read with another content`);
  intendedChildren.forEach((child, index) => checkSame(children[index]!, child, `${path}/${child.name}`));
}

function valueOf(element: Element): string {
  const text = textOf(element);
  return text.trim() === "" ? "" : text;
}
