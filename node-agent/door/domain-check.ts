/** A domain that another host offers, against the one that this agent would have made of the same record (pure). */
import type { Element } from "../domain/element.ts";
import { domainRule } from "./domain-rules.ts";
import { checkTree, indexOf, Unintended } from "./tree-check.ts";
import type { Index } from "./tree-check.ts";
import { childOf, elementsOf, textOf } from "./xml-tree.ts";

/** Without these it would be nobody's. */
const REQUIRED = ["name", "uuid", "metadata", "memory", "vcpu", "os", "devices"];

export type Intended = {
  index: Index;
  name: string;
  uuid: string;
  disks: ReadonlySet<string>;
  interfaces: ReadonlySet<string>;
  /** Devices whose bytes come along. */
  copied: ReadonlySet<string>;
};

export function intendedOf(domain: Element): Intended {
  return {
    index: indexOf(domain),
    name: textOf(childOf(domain, "name")!),
    uuid: textOf(childOf(domain, "uuid")!),
    disks: new Set(devicesOf(domain, "disk").map(diskKey)),
    interfaces: new Set(devicesOf(domain, "interface").map(interfaceKey)),
    copied: new Set(),
  };
}

/** The domain as it may be passed on. Throws Unintended. */
export function checkDomain(offered: Element, intended: Intended, path?: string): Element {
  if (offered.name !== "domain") throw new Unintended(`"${offered.name}" is no domain`);
  const checked = checkTree(offered, { rule: domainRule, intended: intended.index, path: "domain" });
  for (const name of REQUIRED) if (childOf(checked, name) === undefined) throw new Unintended(`${path ?? "domain"} has no ${name}`);
  if (childOf(childOf(checked, "metadata"), "drover:instance")?.attributes["epoch"] === undefined) throw new Unintended("The domain carries no epoch");
  everyKnown(devicesOf(checked, "disk").map(diskKey), intended.disks, "disk");
  everyKnown(devicesOf(checked, "interface").map(interfaceKey), intended.interfaces, "interface");
  return checked;
}

/** Values that are each allowed somewhere must also belong together, and each device be there once. */
function everyKnown(keys: readonly string[], known: ReadonlySet<string>, what: string): void {
  const stranger = keys.find((key) => !known.has(key));
  if (stranger !== undefined) throw new Unintended(`A ${what} is put together in another way: ${stranger}`);
  if (new Set(keys).size !== keys.length) throw new Unintended(`A ${what} is there twice`);
}

const devicesOf = (domain: Element, name: string): Element[] => {
  const devices = childOf(domain, "devices");
  return devices === undefined ? [] : elementsOf(devices).filter((device) => device.name === name);
};

const attribute = (element: Element, child: string, name: string): string => childOf(element, child)?.attributes[name] ?? "";

/** A raw image opened as another format would be obeyed in what its first bytes say, so the format belongs to the file. */
function diskKey(disk: Element): string {
  const { type = "", device = "disk" } = disk.attributes;
  const place = [attribute(disk, "target", "dev"), attribute(disk, "target", "bus")];
  const image = [attribute(disk, "driver", "type"), attribute(disk, "source", "file"), ...chainOf(disk)];
  return [type, device, ...place, ...image, childOf(disk, "readonly") ? "readonly" : "writable"].join(" ");
}

function chainOf(image: Element): string[] {
  const base = childOf(image, "backingStore");
  if (base === undefined || childOf(base, "source") === undefined) return [];
  return [attribute(base, "format", "type"), attribute(base, "source", "file"), ...chainOf(base)];
}

function interfaceKey(one: Element): string {
  const source = childOf(one, "source")?.attributes ?? {};
  return [one.attributes["type"] ?? "", attribute(one, "mac", "address"), source["network"] ?? source["bridge"] ?? ""].join(" ");
}
