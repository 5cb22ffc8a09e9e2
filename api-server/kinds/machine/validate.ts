/** Rules of a machine's spec across fields, after defaults. Answers every fault; what one field may hold is said in the proto. */
import { TolerationOperator } from "../../../gen/drover/v1/machine.ts";
import type { CpuSpec, DomainSpec, KernelBoot, Toleration, VirtualMachineInstanceSpec } from "../../../gen/drover/v1/machine.ts";
import type { Fault } from "../../../lib/errors.ts";
import { labelKey, labels, labelValue, unique } from "../names.ts";
import { MEMORY_SIZE, quantityBetween } from "../quantities.ts";
import { fileName, poolName, validateDisks } from "./disks.ts";
import { validateInterfaces } from "./interfaces.ts";

const VCPUS_MAX = 512;
const MACHINE_TYPE = /^(q35|pc|pc-q35-[a-z0-9][a-z0-9._-]*|pc-i440fx-[a-z0-9][a-z0-9._-]*)$/;

/** `owner` names the machine, for what its images are called by default. */
export function validateMachine(path: string, spec: VirtualMachineInstanceSpec, owner: { namespace: string; name: string }): Fault[] {
  const domain = spec.domain;
  return [
    ...(domain ? validateDomain(`${path}.domain`, domain) : []),
    ...validateDisks(path, spec, owner),
    ...validateInterfaces(path, spec),
    ...bootOrders(path, spec),
    ...labels(`${path}.node_selector`, spec.nodeSelector),
    ...spec.tolerations.flatMap((toleration, i) => validateToleration(`${path}.tolerations[${i}]`, toleration)),
  ];
}

function validateDomain(path: string, { cpu, memory, machine, firmware, clock }: DomainSpec): Fault[] {
  const type = machine?.type ?? "";
  return [
    ...(cpu ? validateCpu(`${path}.cpu`, cpu) : []),
    ...(memory ? quantityBetween(`${path}.memory.guest`, memory.guest, MEMORY_SIZE) : []),
    ...(type === "" || MACHINE_TYPE.test(type)
      ? []
      : [{ path: `${path}.machine.type`, message: `must be "q35", "pc" or a pinned type such as "pc-q35-7.2": current value is ${JSON.stringify(type)}` }]),
    ...(firmware?.kernelBoot ? validateKernelBoot(`${path}.firmware.kernel_boot`, firmware.kernelBoot) : []),
    ...(clock?.base?.$case === "timezone" ? timezone(`${path}.clock.timezone`, clock.base.value) : []),
  ];
}

function validateCpu(path: string, { sockets, cores, threads }: CpuSpec): Fault[] {
  const vcpus = sockets * cores * threads;
  return vcpus <= VCPUS_MAX ? [] : [{ path, message: `must be at most ${VCPUS_MAX} processors: sockets x cores x threads is ${vcpus}` }];
}

function validateKernelBoot(path: string, { pool, kernel, initrd, kernelArgs }: KernelBoot): Fault[] {
  return [
    ...poolName(`${path}.pool`, pool),
    ...fileName(`${path}.kernel`, kernel),
    ...(initrd === "" ? [] : fileName(`${path}.initrd`, initrd)),
    ...(kernelArgs !== "" && kernel === "" ? [{ path: `${path}.kernel_args`, message: "must be empty without a kernel" }] : []),
  ];
}

function timezone(path: string, zone: string): Fault[] {
  try {
    Intl.DateTimeFormat("en", { timeZone: zone });
    return [];
  } catch {
    return [{ path, message: `must be an IANA time zone such as "Europe/Berlin": current value is ${JSON.stringify(zone)}` }];
  }
}

function bootOrders(path: string, { domain }: VirtualMachineInstanceSpec): Fault[] {
  const { disks = [], interfaces = [] } = domain?.devices ?? {};
  const ordered = [
    ...disks.map(({ bootOrder }, i) => ({ bootOrder, path: `${path}.domain.devices.disks[${i}].boot_order` })),
    ...interfaces.map(({ bootOrder }, i) => ({ bootOrder, path: `${path}.domain.devices.interfaces[${i}].boot_order` })),
  ];
  return unique(ordered, ({ bootOrder }) => (bootOrder === 0 ? undefined : String(bootOrder)), (i) => ordered[i]!.path);
}

function validateToleration(path: string, { key, operator, value }: Toleration): Fault[] {
  const exists = operator === TolerationOperator.EXISTS;
  return [
    ...(key === "" ? [] : labelKey(`${path}.key`, key)),
    ...(key === "" && !exists ? [{ path: `${path}.key`, message: "must be given unless the operator is Exists" }] : []),
    ...(exists && value !== "" ? [{ path: `${path}.value`, message: "must be empty with the operator Exists" }] : []),
    ...(exists ? [] : labelValue(`${path}.value`, value)),
  ];
}
