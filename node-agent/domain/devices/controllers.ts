/**
 * Buses (pure). A PCI Express board can only take a device into a port that exists, so spare ones are there from the
 * start: none can be added to a running machine.
 */
import type { Disk } from "../../../gen/drover/v1/machine.ts";
import type { Board } from "../board.ts";
import { element } from "../element.ts";
import type { Element } from "../element.ts";
import { busOf } from "./disk.ts";

export type BusUsers = { board: Board; disks: readonly Disk[]; interfaceCount: number; hasGraphics: boolean };

const SPARE_PORTS = 8;
/** Serial channel, balloon, random number generator. */
const FIXED_DEVICES = 3;

export function controllers({ board, disks, interfaceCount, hasGraphics }: BusUsers): Element[] {
  const buses = disks.map(busOf);
  const hasScsi = buses.includes("scsi");
  const taken = FIXED_DEVICES + interfaceCount + buses.filter((bus) => bus === "virtio").length + Number(hasScsi) + Number(hasGraphics);
  return [
    ...(board.isPcie ? pcieRoot(taken + SPARE_PORTS) : []),
    ...(hasScsi ? [element("controller", { type: "scsi", index: 0, model: "virtio-scsi" })] : []),
    // Without a display nothing is plugged into USB.
    element("controller", { type: "usb", index: 0, model: hasGraphics ? "qemu-xhci" : "none" }),
  ];
}

function pcieRoot(portCount: number): Element[] {
  const ports = Array.from({ length: portCount }, (_, port) => element("controller", { type: "pci", index: port + 1, model: "pcie-root-port" }));
  return [element("controller", { type: "pci", index: 0, model: "pcie-root" }), ...ports];
}
