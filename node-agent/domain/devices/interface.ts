/** Network cards and what they are plugged into (pure). */
import { InterfaceModel } from "../../../gen/drover/v1/machine.ts";
import type { Interface, Network } from "../../../gen/drover/v1/machine.ts";
import { element, InvalidDomain } from "../element.ts";
import type { Element } from "../element.ts";

const MODELS: Partial<Record<InterfaceModel, string>> = {
  [InterfaceModel.E1000]: "e1000",
  [InterfaceModel.E1000E]: "e1000e",
  [InterfaceModel.RTL8139]: "rtl8139",
};

export function networkInterface(spec: Interface, { network, macAddress }: { network: Network | undefined; macAddress: string }): Element {
  if (macAddress === "") throw new InvalidDomain(`Cannot attach interface "${spec.name}": it has no MAC address`);
  const { type, source } = connection(spec.name, network);
  return element("interface", { type }, [
    element("mac", { address: macAddress }),
    source,
    element("model", { type: MODELS[spec.model] ?? "virtio" }),
    spec.bootOrder > 0 && element("boot", { order: spec.bootOrder }),
    element("alias", { name: `ua-net-${spec.name}` }),
  ]);
}

function connection(name: string, network: Network | undefined): { type: string; source?: Element } {
  const source = network?.source;
  switch (source?.$case) {
    case "bridge":
      return { type: "bridge", source: element("source", { bridge: source.value.bridgeName }) };
    case "libvirt":
      return { type: "network", source: element("source", { network: source.value.networkName }) };
    case "pod":
    case "user":
      return { type: "user" };
    case undefined:
      throw new InvalidDomain(`Cannot attach interface "${name}": there is no network of this name`);
  }
}
