/** What a host can run, read from libvirt's capability documents (pure). */
import { XMLParser } from "fast-xml-parser";
import type { HostInventory } from "./hypervisor.ts";

type Text = string | { "#text": string };
type MachineXml = Text & { canonical?: string };
type ArchXml = { name: string; emulator?: string; machine?: MachineXml[]; domain?: { type: string }[] };
type SecurityXml = { model?: Text[]; baselabel?: Text[] };
type CapabilitiesXml = {
  capabilities: { host: { cpu: { arch: string }; secmodel?: SecurityXml[] }; guest?: { os_type: string; arch: ArchXml }[] };
};
type ModeXml = { name: string; supported: string; model?: (Text & { usable?: string })[] };
type DomainCapabilitiesXml = { domainCapabilities: { cpu?: { mode?: ModeXml[] } } };

export type Capabilities = Pick<
  HostInventory,
  "architecture" | "emulator" | "domainTypes" | "machineTypes" | "machineAliases" | "qemuOwner"
>;

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: "",
  parseTagValue: false,
  isArray: (name) => ["guest", "machine", "domain", "mode", "model", "secmodel", "baselabel"].includes(name),
});
const textOf = (node: Text) => (typeof node === "string" ? node : node["#text"]);

/** Only full virtualization of the host's own architecture counts. */
export function parseCapabilities(xml: string): Capabilities {
  const { host, guest = [] } = (parser.parse(xml) as CapabilitiesXml).capabilities;
  const architecture = host.cpu.arch;
  const arch = guest.find((one) => one.os_type === "hvm" && one.arch.name === architecture)?.arch;
  const machines = arch?.machine ?? [];
  const aliases = machines.flatMap((machine) =>
    typeof machine !== "string" && machine.canonical !== undefined ? [[textOf(machine), machine.canonical]] : [],
  );
  const machineAliases = Object.fromEntries(aliases) as Record<string, string>;
  const pinned = machines.map(textOf).filter((name) => !(name in machineAliases));
  const qemuOwner = ownerIn(host.secmodel ?? []);
  return {
    architecture,
    emulator: arch?.emulator ?? "",
    domainTypes: (arch?.domain ?? []).map(({ type }) => type),
    machineTypes: [...new Set([...pinned, ...Object.values(machineAliases)])].sort(),
    machineAliases,
    ...(qemuOwner && { qemuOwner }),
  };
}

/** The label that guests get from the driver of users and groups, such as "+64055:+104". */
function ownerIn(models: readonly SecurityXml[]): HostInventory["qemuOwner"] {
  const [label] = models.find(({ model }) => model?.map(textOf).includes("dac"))?.baselabel ?? [];
  const [, uid, gid] = /^\+(\d+):\+(\d+)$/.exec(label === undefined ? "" : textOf(label)) ?? [];
  return uid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}

export function parseCpuModels(xml: string, domainType: string): HostInventory["cpuModels"] {
  const modes = (parser.parse(xml) as DomainCapabilitiesXml).domainCapabilities.cpu?.mode ?? [];
  const supported = (name: string) => modes.find((mode) => mode.name === name && mode.supported === "yes");
  const hostModel = supported("host-model")?.model?.[0];
  return {
    domainType,
    usable: (supported("custom")?.model ?? [])
      .filter((model) => typeof model !== "string" && model.usable === "yes")
      .map(textOf)
      .sort(),
    ...(hostModel === undefined ? {} : { hostModel: textOf(hostModel) }),
    hostPassthrough: supported("host-passthrough") !== undefined,
    maximum: supported("maximum") !== undefined,
  };
}
