/**
 * libvirt's test driver as a host that emulates: it keeps domains and tells of them without running anything, which
 * shows what the control plane itself costs. It knows no boards and no processor models, so it is given one of each.
 */
import type { HostInventory, Hypervisor, LaunchOptions } from "./hypervisor.ts";
import type { LibvirtHypervisor } from "./libvirt-hypervisor.ts";

const BOARD = "pc-q35-7.2";
const MODEL = "qemu64";

/** The same hypervisor, which from now on answers as such a host. */
export function testDriverHypervisor(hypervisor: LibvirtHypervisor): Hypervisor {
  const { inventory, launch, define } = hypervisor;
  return Object.assign(hypervisor, {
    inventory: async (domainType?: string) => asEmulated(await inventory(domainType)),
    launch: (options: LaunchOptions) => launch({ ...options, xml: forTestDriver(options.xml) }),
    define: (xml: string) => define(forTestDriver(xml)),
  });
}

function asEmulated(inventory: HostInventory): HostInventory {
  return {
    ...inventory,
    architecture: "x86_64",
    machineTypes: [BOARD],
    machineAliases: { q35: BOARD },
    cpuModels: { ...inventory.cpuModels, usable: [MODEL] },
  };
}

/** It takes domains of its own type and architecture alone. */
export function forTestDriver(xml: string): string {
  return xml.replace(/^(\s*<domain) type=(['"])\w+\2/, "$1 type='test'").replace(/<type arch=[^>]*>hvm/, "<type arch='i686'>hvm");
}
