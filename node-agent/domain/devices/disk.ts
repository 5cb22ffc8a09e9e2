/** Disks and CD-ROMs: what stands behind each, and where the guest finds it (pure). */
import { DiskBus, DiskCache } from "../../../gen/drover/v1/machine.ts";
import type { Disk } from "../../../gen/drover/v1/machine.ts";
import { element, InvalidDomain } from "../element.ts";
import type { Element } from "../element.ts";
import type { DiskSource } from "../parts.ts";

type Bus = "virtio" | "sata" | "scsi";
const LETTERS = 26;

/** Device names are counted for each prefix in the order of the spec, so that the same spec gives the same names. */
export function disks(specs: readonly Disk[], sources: Readonly<Record<string, DiskSource>>): Element[] {
  return placesOf(specs).map(({ spec, device, index }) => {
    const source = Object.hasOwn(sources, spec.name) ? sources[spec.name] : undefined;
    if (source === undefined) throw new InvalidDomain(`Cannot attach disk "${spec.name}": there is no volume of this name`);
    return disk(spec, { source, device, index });
  });
}

/** By the disk's name, such as "vda". */
export const deviceNames = (specs: readonly Disk[]): ReadonlyMap<string, string> =>
  new Map(placesOf(specs).map(({ spec, device }) => [spec.name, device]));

function placesOf(specs: readonly Disk[]): { spec: Disk; device: string; index: number }[] {
  const used = { vd: 0, sd: 0 };
  return specs.map((spec) => {
    const prefix = busOf(spec) === "virtio" ? "vd" : "sd";
    const index = used[prefix];
    used[prefix] += 1;
    return { spec, device: prefix + letters(index), index };
  });
}

const BUSES: Partial<Record<DiskBus, Bus>> = { [DiskBus.VIRTIO]: "virtio", [DiskBus.SATA]: "sata", [DiskBus.SCSI]: "scsi" };

export function busOf({ device }: Disk): Bus {
  return BUSES[device?.value.bus ?? DiskBus.UNSPECIFIED] ?? (device?.$case === "cdrom" ? "sata" : "virtio");
}

function disk(spec: Disk, { source, device, index }: { source: DiskSource; device: string; index: number }): Element {
  const isCdrom = spec.device?.$case === "cdrom";
  const bus = busOf(spec);
  const isReadOnly = isCdrom || (spec.device?.$case === "disk" && spec.device.value.readonly) || (source.kind === "seed" && bus !== "sata");
  return element("disk", { type: "file", device: isCdrom ? "cdrom" : "disk" }, [
    driver(spec.cache, source, isReadOnly),
    element("source", { file: source.path }),
    backing(source),
    element("target", { dev: device, bus }),
    isReadOnly && element("readonly"),
    spec.serial !== "" && element("serial", {}, [spec.serial]),
    spec.bootOrder > 0 && element("boot", { order: spec.bootOrder }),
    element("alias", { name: `ua-disk-${spec.name}` }),
    // Left alone, libvirt would spread many disks over controllers of a model that it chooses itself.
    bus === "scsi" && element("address", { type: "drive", controller: 0, bus: 0, target: 0, unit: index }),
  ]);
}

const CACHES: Partial<Record<DiskCache, string>> = { [DiskCache.WRITETHROUGH]: "writethrough", [DiskCache.WRITEBACK]: "writeback" };

/** Native I/O needs a file that is opened past the page cache. A seed lives on any file system, so it is opened plainly. */
function driver(cache: DiskCache, { format, kind }: DiskSource, isReadOnly: boolean): Element {
  const isPlain = kind === "seed" && cache === DiskCache.UNSPECIFIED;
  const mode = isPlain ? undefined : (CACHES[cache] ?? "none");
  return element("driver", {
    name: "qemu",
    type: format,
    cache: mode,
    io: mode === "none" ? "native" : undefined,
    discard: isReadOnly ? undefined : "unmap",
  });
}

/** The chain is spelled out to its end, so that nobody follows what the image's header says. */
function backing({ base }: DiskSource): Element {
  if (base === undefined) return element("backingStore");
  return element("backingStore", { type: "file" }, [
    element("format", { type: base.format }),
    element("source", { file: base.path }),
    element("backingStore"),
  ]);
}

/** 0 is "a", 25 is "z", 26 is "aa". */
function letters(index: number): string {
  const last = String.fromCodePoint("a".codePointAt(0)! + (index % LETTERS));
  return index < LETTERS ? last : letters(Math.floor(index / LETTERS) - 1) + last;
}
