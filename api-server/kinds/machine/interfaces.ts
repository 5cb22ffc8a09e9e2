/** Network cards and what they connect to. Pure. */
import type { Interface, Network, VirtualMachineInstanceSpec } from "../../../gen/drover/v1/machine.ts";
import type { Fault } from "../../../lib/errors.ts";
import { dnsLabel, unique } from "../names.ts";

const MAC_ADDRESS = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
/** Names that Linux gives another meaning. */
const BRIDGE_RESERVED: readonly string[] = [".", ".."];

export function validateInterfaces(path: string, spec: VirtualMachineInstanceSpec): Fault[] {
  const cards = spec.domain?.devices?.interfaces ?? [];
  const { networks } = spec;
  const at = `${path}.domain.devices.interfaces`;
  return [
    ...cards.flatMap((card, i) => validateInterface(`${at}[${i}]`, card, networks)),
    ...unique(cards, ({ name }) => name, (i) => `${at}[${i}].name`),
    ...unique(cards, ({ macAddress }) => macAddress.toLowerCase() || undefined, (i) => `${at}[${i}].mac_address`),
    ...networks.flatMap((network, i) => validateNetwork(`${path}.networks[${i}]`, network, cards)),
    ...unique(networks, ({ name }) => name, (i) => `${path}.networks[${i}].name`),
    ...unique(networks, ({ source }) => (source?.$case === "pod" ? "pod" : undefined), (i) => `${path}.networks[${i}].pod`),
  ];
}

function validateInterface(path: string, card: Interface, networks: Network[]): Fault[] {
  const network = networks.find(({ name }) => name === card.name);
  return [
    ...dnsLabel(`${path}.name`, card.name),
    ...(network ? [] : [{ path: `${path}.name`, message: `must be the name of a network: there is none called ${JSON.stringify(card.name)}` }]),
    ...binding(path, card, network),
    ...macAddress(`${path}.mac_address`, card.macAddress),
  ];
}

function binding(path: string, card: Interface, network: Network | undefined): Fault[] {
  const source = network?.source?.$case;
  if (source === undefined) return [];
  const onLayer2 = source === "bridge" || source === "libvirt";
  if (card.binding?.$case === "masquerade" && onLayer2) {
    return [{ path: `${path}.masquerade`, message: `must be bridge on a ${source} network` }];
  }
  if (card.binding?.$case === "bridge" && !onLayer2) {
    return [{ path: `${path}.bridge`, message: `must be masquerade on a ${source} network` }];
  }
  return [];
}

function macAddress(path: string, address: string): Fault[] {
  const form = "must be six hexadecimal pairs with colons, unicast and not all zero";
  const first = Number.parseInt(address.slice(0, 2), 16);
  const fits = MAC_ADDRESS.test(address) && (first & 1) === 0 && address !== "00:00:00:00:00:00";
  return fits ? [] : [{ path, message: `${form}: current value is ${JSON.stringify(address)}` }];
}

function validateNetwork(path: string, { name, source }: Network, cards: Interface[]): Fault[] {
  const used = cards.some((card) => card.name === name);
  const reserved = source?.$case === "bridge" && BRIDGE_RESERVED.includes(source.value.bridgeName);
  return [
    ...dnsLabel(`${path}.name`, name),
    ...(used ? [] : [{ path: `${path}.name`, message: `must be used by an interface: none is called ${JSON.stringify(name)}` }]),
    ...(reserved ? [{ path: `${path}.bridge.bridge_name`, message: "must be the name of a bridge" }] : []),
  ];
}
