/** What of a running domain matters for a move: its CPU, what of its host it has, and how fast it changes its memory. */
import { MachineInspection } from "../../gen/drover/agent/v1/agent.ts";
import type { InspectMachine } from "../../gen/drover/agent/v1/agent.ts";
import { delay } from "../../lib/clock.ts";
import type { Clock } from "../../lib/clock.ts";
import { parseInstanceMetadata } from "../domain/metadata.ts";
import type { Element } from "../domain/element.ts";
import { childOf, elementsOf, parseXml, textOf } from "../door/xml-tree.ts";
import { HypervisorError } from "../libvirt/hypervisor.ts";
import type { Hypervisor, MemoryLoad } from "../libvirt/hypervisor.ts";
import { cpuOf } from "./cpu.ts";

/** The shortest that QEMU measures. */
const MEASURE_SECONDS = 1;
/** It hashes its samples once more after that. */
const SLACK_MS = 150;
const LOOKS_MAX = 4;
const HOST_DEVICES_MAX = 16;

export type InspectTools = { hypervisor: Pick<Hypervisor, "get" | "xml" | "startDirtyRate" | "memoryLoad">; clock: Clock };

export async function inspectMachine({ hypervisor, clock }: InspectTools, { vmiUid, domainUuid }: InspectMachine): Promise<MachineInspection> {
  const domain = await hypervisor.get(domainUuid);
  if (!domain || parseInstanceMetadata(domain.metadata)?.vmiUid !== vmiUid) throw new HypervisorError("no-domain", "The machine has no domain here");
  const [xml, load] = await Promise.all([hypervisor.xml(domainUuid, "live"), loadOf(hypervisor, domainUuid, clock)]);
  const root = parseXml(xml);
  const type = childOf(childOf(root, "os"), "type");
  return MachineInspection.create({
    cpu: cpuOf(root),
    domainType: root.attributes["type"] ?? "",
    machineType: type?.attributes["machine"] ?? "",
    architecture: type?.attributes["arch"] ?? "",
    hostDevices: hostDevicesOf(root),
    residentBytes: load.residentBytes ?? 0,
    dirtyBytesPerSecond: load.dirtyBytesPerSecond,
  });
}

/** A hypervisor that cannot measure is no reason to say nothing else. */
async function loadOf(hypervisor: InspectTools["hypervisor"], uuid: string, clock: Clock): Promise<MemoryLoad> {
  try {
    await hypervisor.startDirtyRate(uuid, MEASURE_SECONDS);
    await delay(clock, MEASURE_SECONDS * 1_000);
    for (let look = 1; ; look += 1) {
      await delay(clock, SLACK_MS);
      const load = await hypervisor.memoryLoad(uuid);
      if (load.dirtyBytesPerSecond !== undefined || look === LOOKS_MAX) return load;
    }
  } catch (error) {
    if (!(error instanceof HypervisorError)) throw error;
    return {};
  }
}

/** Such as "pci 0000:65:00.0"; what libvirt shows of its place is told as far as it is there. */
function hostDevicesOf(domain: Element): string[] {
  const devices = childOf(domain, "devices");
  const passed = devices ? elementsOf(devices).filter(({ name, attributes }) => name === "hostdev" || (name === "interface" && attributes["type"] === "hostdev")) : [];
  return passed.slice(0, HOST_DEVICES_MAX).map((device) => device.attributes["type"] ?? textOf(device));
}
