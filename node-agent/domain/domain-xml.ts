/**
 * An instance's spec as a libvirt domain (pure): the whole domain on one screen, one function for each part of it.
 * Addresses on the PCI bus are left to libvirt, which keeps them in the definition that it makes of this.
 */
import type { DomainSpec, Interface } from "../../gen/drover/v1/machine.ts";
import type { ResolvedHardware } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { boardOf } from "./board.ts";
import type { Board } from "./board.ts";
import { clock } from "./clock.ts";
import { cpu, vcpus } from "./cpu.ts";
import { channels } from "./devices/channel.ts";
import { serialConsole } from "./devices/console.ts";
import { controllers } from "./devices/controllers.ts";
import { disks } from "./devices/disk.ts";
import { graphics } from "./devices/graphics.ts";
import { networkInterface } from "./devices/interface.ts";
import { memoryBalloon } from "./devices/memory-balloon.ts";
import { randomness } from "./devices/randomness.ts";
import { element, InvalidDomain } from "./element.ts";
import type { Element } from "./element.ts";
import { firmware, systemInformation } from "./firmware.ts";
import { domainName, machineIdentity } from "./identity.ts";
import { memory } from "./memory.ts";
import { metadataElement } from "./metadata.ts";
import type { DomainParts } from "./parts.ts";
import { verifiedXml } from "./verified-xml.ts";

/** Throws InvalidDomain when no domain can be made of the instance. */
export function domainXml(parts: DomainParts): string {
  return verifiedXml(domain(parts));
}

function domain(parts: DomainParts): Element {
  const { instance, accelerator, architecture, prepared } = parts;
  const spec = instance.spec?.domain;
  if (spec === undefined) throw new InvalidDomain("Cannot make the domain: the instance has no domain");
  const identity = machineIdentity(instance);
  const hardware = instance.status?.hardware;
  const board = boardOf(machineTypeOf(spec, hardware), architecture);
  const model = hardware?.cpuModel || spec.cpu?.model || "";
  return element("domain", { type: accelerator }, [
    element("name", {}, [domainName(identity)]),
    element("uuid", {}, [identity.domainUuid]),
    metadata(parts),
    ...memory(spec.memory?.guest ?? ""),
    vcpus(spec.cpu),
    ...systemInformation(spec.firmware),
    firmware({ spec: spec.firmware, board, architecture, prepared, isOrdered: isOrdered(spec) }),
    features(board),
    cpu({ spec: spec.cpu, model, accelerator }),
    clock(spec.clock, board),
    element("on_poweroff", {}, ["destroy"]),
    element("on_reboot", {}, ["restart"]),
    element("on_crash", {}, ["destroy"]),
    board.isX86 && noSleep(),
    devices(parts, board),
  ]);
}

function machineTypeOf(spec: DomainSpec, hardware: ResolvedHardware | undefined): string {
  const type = hardware?.machineType || spec.machine?.type || "";
  if (type === "") throw new InvalidDomain("Cannot make the domain: no machine type was chosen");
  return type;
}

function metadata({ instance, epoch }: DomainParts): Element {
  const { namespace, vm, vmUid, vmiUid } = machineIdentity(instance);
  const generation = instance.status?.machineGeneration ?? 0;
  return element("metadata", {}, [metadataElement({ namespace, vm, vmUid, vmiUid, epoch, generation })]);
}

function isOrdered({ devices }: DomainSpec): boolean {
  return [...(devices?.disks ?? []), ...(devices?.interfaces ?? [])].some(({ bootOrder }) => bootOrder > 0);
}

function features({ isX86 }: Board): Element {
  return element("features", {}, [element("acpi"), isX86 && element("apic")]);
}

/** A guest that sleeps looks like one that hangs, and nothing here would wake it. */
function noSleep(): Element {
  return element("pm", {}, [element("suspend-to-mem", { enabled: "no" }), element("suspend-to-disk", { enabled: "no" })]);
}

function devices({ instance, prepared, emulator }: DomainParts, board: Board): Element {
  const { domain: spec, networks = [] } = instance.spec ?? {};
  const { disks: diskSpecs = [], interfaces = [], rng, autoattachSerialConsole, autoattachGraphicsDevice } = spec?.devices ?? {};
  const hasGraphics = autoattachGraphicsDevice ?? true;
  const interfaceOf = (one: Interface) =>
    networkInterface(one, {
      network: networks.find(({ name }) => name === one.name),
      macAddress: instance.status?.hardware?.macAddresses[one.name] || one.macAddress,
    });
  return element("devices", {}, [
    element("emulator", {}, [emulator]),
    ...controllers({ board, disks: diskSpecs, interfaceCount: interfaces.length, hasGraphics }),
    ...disks(diskSpecs, prepared.disks),
    ...interfaces.map(interfaceOf),
    ...((autoattachSerialConsole ?? true) ? serialConsole(prepared.paths) : []),
    ...channels(),
    ...(hasGraphics ? graphics() : []),
    ...(rng === undefined ? [] : [randomness()]),
    memoryBalloon(),
  ]);
}
