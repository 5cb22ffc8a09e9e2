/** The disks of a domain whose bytes an open migration copies, by the names that the guest's board has for them (pure). */
import { DiskCopy } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { CopiedDevices } from "../door/grant.ts";
import { childOf, elementsOf, parseXml } from "../door/xml-tree.ts";
import { deviceNames } from "./devices/disk.ts";
import { element, InvalidDomain, serialize } from "./element.ts";
import type { Element } from "./element.ts";

/** Undefined when none is copied. */
export function copiedDevices({ spec, status }: VirtualMachineInstance, how = status?.migration?.target?.diskCopy): CopiedDevices | undefined {
  const { copiedDisks = [] } = status?.migration ?? {};
  if (copiedDisks.length === 0) return undefined;
  if (how !== DiskCopy.OVERLAYS && how !== DiskCopy.FULL) throw new InvalidDomain("The target has not said how the disks are to be copied");
  const names = deviceNames(spec?.domain?.devices?.disks ?? []);
  const devices = copiedDisks.map(({ volume }) => {
    const device = names.get(volume);
    if (device === undefined) throw new InvalidDomain(`The domain has no disk "${volume}" that could be copied`);
    return device;
  });
  return { devices, how: how === DiskCopy.FULL ? "full" : "overlays" };
}

/** The domain with these disks standing on no other image. */
export function withoutBases(xml: string, devices: readonly string[]): string {
  const domain = parseXml(xml);
  const flat = (disk: Element): Element => {
    const isCopied = disk.name === "disk" && devices.includes(childOf(disk, "target")?.attributes["dev"] ?? "");
    if (!isCopied) return disk;
    return { ...disk, children: disk.children.map((child) => (typeof child !== "string" && child.name === "backingStore" ? element("backingStore") : child)) };
  };
  return serialize(withChildren(domain, (child) => (child.name === "devices" ? withChildren(child, flat) : child)));
}

const withChildren = (parent: Element, change: (child: Element) => Element): Element =>
  elementsOf(parent).length === 0 ? parent : { ...parent, children: elementsOf(parent).map(change) };
