/** What a machine has that no other machine may have: on one network a MAC address, in one libvirt a firmware UUID. Pure. */
import type { VirtualMachineInstanceSpec } from "../../../gen/drover/v1/machine.ts";

export type IdentifierType = "mac" | "firmware";
export type Identifier = { type: IdentifierType; value: string; /** Of the field, from the object's root. */ path: string };

/** Of a spec after defaults, where every card has its address. */
export function machineIdentifiers(path: string, spec: VirtualMachineInstanceSpec | undefined): Identifier[] {
  const { firmware, devices } = spec?.domain ?? {};
  const cards = (devices?.interfaces ?? []).map(({ macAddress }, i): Identifier =>
    ({ type: "mac", value: macAddress, path: `${path}.domain.devices.interfaces[${i}].mac_address` }));
  const uuid: Identifier = { type: "firmware", value: firmware?.uuid ?? "", path: `${path}.domain.firmware.uuid` };
  return [uuid, ...cards].filter(({ value }) => value !== "");
}
