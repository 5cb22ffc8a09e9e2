/**
 * What a domain that comes from another host may be made of (pure). Every element and attribute has its row or is refused.
 * Whatever names a thing of this host must have the value that this agent would have given it; all else is a word or a
 * number, in which no path fits.
 */

/** What this agent's own domain has at the same place: `values`, or those of another place. */
export type Place = { values: readonly string[]; at: (path: string) => readonly string[] };
export type Check = (value: string, place: Place) => boolean;

export type Rule = {
  /** `drop`: harmless here, and not passed on. */
  attributes?: Record<string, Check | "drop">;
  text?: Check;
  children?: Record<string, Rule>;
  /** How many more of it there may be than this agent's own domain has; none when absent. */
  extra?: number;
  /** Checked, and not passed on. */
  drop?: true;
};

const matching = (pattern: RegExp): Check => (value) => pattern.test(value);
const word = matching(/^[\w.+:-]{1,128}$/);
const number = matching(/^\d{1,20}$/);
const numberOrHex = matching(/^(0x[0-9a-fA-F]{1,16}|\d{1,20})$/);
const uuid = matching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
const oneOf = (...values: string[]): Check => (value) => values.includes(value);
const same: Check = (value, { values }) => values.includes(value);
const sameAs = (path: string): Check => (value, { at }) => at(path).includes(value);

const MEBIBYTE_IN_KIB = 1024;

/** libvirt rounds memory up to whole mebibytes. */
const noMoreMemory: Check = (value, { at }) =>
  number(value, { values: [], at }) && at("domain/memory").some((own) => Number(value) <= Math.ceil(Number(own) / MEBIBYTE_IN_KIB) * MEBIBYTE_IN_KIB);

/** More than any machine has; for what costs the host nothing. */
const MANY = 256;
const flag: Rule = { extra: 1 };

const address: Rule = {
  extra: MANY,
  attributes: {
    type: oneOf("pci", "drive", "usb", "virtio-serial", "isa"),
    domain: numberOrHex, bus: numberOrHex, slot: numberOrHex, function: numberOrHex, multifunction: oneOf("on", "off"),
    controller: number, target: number, unit: number, port: matching(/^[\d.]{1,16}$/), iobase: numberOrHex, irq: numberOrHex,
  },
};
const alias: Rule = { extra: MANY, attributes: { name: word } };
const placed = { address, alias };

const backing: Rule = {
  extra: 1,
  attributes: { type: same, index: "drop" },
  children: { format: { attributes: { type: same } }, source: { attributes: { file: same, index: "drop" } } },
};
// The chain's own end, and whatever images are below it.
backing.children!["backingStore"] = backing;

const disk: Rule = {
  attributes: { type: same, device: same },
  children: {
    driver: { attributes: { name: oneOf("qemu"), type: same, cache: word, io: word, discard: word, detect_zeroes: word, error_policy: word, rerror_policy: word } },
    source: { attributes: { file: same, index: "drop" } },
    backingStore: { ...backing, extra: MANY },
    target: { attributes: { dev: same, bus: same, tray: word, removable: word } },
    readonly: {},
    serial: { text: same },
    boot: { attributes: { order: number } },
    ...placed,
  },
};

const networkInterface: Rule = {
  attributes: { type: same },
  children: {
    mac: { attributes: { address: same } },
    source: { attributes: { bridge: same, network: same, portid: "drop" } },
    target: { extra: MANY, attributes: { dev: matching(/^vnet\d{1,9}$/) }, drop: true },
    model: { attributes: { type: same } },
    boot: { attributes: { order: number } },
    ...placed,
  },
};

const consoleSource = "domain/devices/serial/source@path";
const consoleLog = "domain/devices/serial/log@file";
const characterTarget: Rule = {
  attributes: { type: word, port: number },
  children: { model: { extra: 1, attributes: { name: word } } },
};
const character = (target: Rule): Rule => ({
  attributes: { type: same },
  children: {
    source: { extra: 1, attributes: { mode: oneOf("bind"), path: sameAs(consoleSource) } },
    log: { extra: 1, attributes: { file: sameAs(consoleLog), append: oneOf("on") } },
    target,
    ...placed,
  },
});

const controller: Rule = {
  extra: MANY,
  attributes: { type: word, index: number, model: word, ports: number, vectors: number },
  children: {
    model: { extra: MANY, attributes: { name: word } },
    target: { extra: MANY, attributes: { chassis: number, chassisNr: number, port: numberOrHex, busNr: number, index: number, hotplug: word } },
    ...placed,
  },
};

const devices: Rule = {
  children: {
    emulator: { text: same },
    disk,
    controller,
    interface: networkInterface,
    serial: character(characterTarget),
    console: character(characterTarget),
    channel: { attributes: { type: same }, children: { target: { attributes: { type: same, name: same } }, ...placed } },
    input: { extra: 2, attributes: { type: word, bus: word }, children: placed },
    graphics: { attributes: { type: same }, children: { listen: { attributes: { type: same } } } },
    audio: { extra: 1, attributes: { id: number, type: oneOf("none") } },
    video: { extra: 1, children: { model: { extra: 1, attributes: { type: word, vram: number, ram: number, vgamem: number, heads: number, primary: word } }, ...placed } },
    // A dump would be written to this host's disk.
    watchdog: { extra: 1, attributes: { model: word, action: oneOf("reset", "none", "poweroff", "shutdown") }, children: placed },
    memballoon: { extra: 1, attributes: { model: word, autodeflate: word, freePageReporting: word }, children: placed },
    rng: { attributes: { model: word }, children: { backend: { attributes: { model: same }, text: same }, ...placed } },
  },
};

export const cpuRule: Rule = {
  extra: 1,
  attributes: { mode: word, match: word, check: word, migratable: word },
  children: {
    model: { extra: 1, attributes: { fallback: word }, text: word },
    vendor: { extra: 1, text: word },
    topology: { extra: 1, attributes: { sockets: number, dies: number, clusters: number, cores: number, threads: number } },
    feature: { extra: 1024, attributes: { policy: word, name: word } },
    cache: { extra: 1, attributes: { mode: word, level: number } },
    maxphysaddr: { extra: 1, attributes: { mode: word, bits: number } },
  },
};

const droverInstance: Rule = {
  attributes: { "xmlns:drover": same, namespace: same, vm: same, vmUid: same, vmiUid: same, epoch: same, generation: number },
};

const word1: Rule = { text: same };
const state = { ...flag, attributes: { state: word } };

export const domainRule: Rule = {
  attributes: { type: same },
  children: {
    name: word1,
    uuid: word1,
    metadata: { children: { "drover:instance": droverInstance } },
    memory: { attributes: { unit: oneOf("KiB") }, text: noMoreMemory },
    currentMemory: { attributes: { unit: oneOf("KiB") }, text: noMoreMemory },
    vcpu: { attributes: { placement: oneOf("static") }, text: same },
    resource: { extra: 1, children: { partition: { extra: 1, text: oneOf("/machine") } } },
    sysinfo: { attributes: { type: same }, children: { system: { children: { entry: { extra: 1, attributes: { name: oneOf("serial", "uuid") }, text: (value, place) => same(value, place) || uuid(value, place) } } } } },
    os: {
      children: {
        type: { attributes: { arch: same, machine: same }, text: same },
        loader: { attributes: { readonly: same, type: same, secure: oneOf("no"), format: oneOf("raw") }, text: same },
        nvram: { attributes: { template: same, format: oneOf("raw") }, text: same },
        kernel: word1,
        initrd: word1,
        cmdline: word1,
        boot: { attributes: { dev: word } },
        smbios: { attributes: { mode: same } },
      },
    },
    features: { extra: 1, children: { acpi: flag, apic: flag, pae: flag, vmport: state, smm: state, gic: { ...flag, attributes: { version: word } } } },
    cpu: cpuRule,
    clock: {
      attributes: { offset: same, timezone: same },
      children: { timer: { extra: 8, attributes: { name: word, tickpolicy: word, present: word, track: word, frequency: number, mode: word } } },
    },
    on_poweroff: word1,
    on_reboot: word1,
    on_crash: word1,
    pm: { children: { "suspend-to-mem": { attributes: { enabled: word } }, "suspend-to-disk": { attributes: { enabled: word } } } },
    devices,
    // What the daemon chooses by itself it may choose here as well.
    seclabel: {
      extra: 4,
      attributes: { type: oneOf("dynamic"), model: oneOf("apparmor", "selinux", "dac"), relabel: oneOf("yes") },
      children: { label: { extra: 4, text: () => true }, imagelabel: { extra: 4, text: () => true } },
      drop: true,
    },
  },
};
