/** What the control plane may ask of this node over its session, and who answers. */
import { CommandResult, CpuComparison, DomainActResult } from "../gen/drover/agent/v1/agent.ts";
import type { ActOnDomain, AddressProbe, Command, CompareCpu } from "../gen/drover/agent/v1/agent.ts";
import type { Clock } from "../lib/clock.ts";
import { describeDomain } from "./describe.ts";
import type { Hypervisor } from "./libvirt/hypervisor.ts";
import type { ActVerdict } from "./machine/domain-act.ts";
import { oneLine } from "./one-line.ts";
import { cpuXml } from "./preflight/cpu.ts";
import { inspectMachine } from "./preflight/inspect.ts";

export type CommandTools = {
  hypervisor: Pick<Hypervisor, "get" | "job" | "xml" | "startDirtyRate" | "memoryLoad" | "compareCpu">;
  /** Of this host's guests. */
  emulator: () => Promise<string>;
  probe: (address: string) => Promise<AddressProbe>;
  /** By the machine's own driver, between its steps. */
  act: (wish: ActOnDomain) => Promise<ActVerdict>;
  clock: Clock;
};

/** A command that fails is answered by whoever caught what it threw. */
export async function answer(tools: CommandTools, { commandId, action }: Command): Promise<CommandResult> {
  switch (action?.$case) {
    case "describeDomain":
      return CommandResult.create({ commandId, domain: await describeDomain(tools.hypervisor, action.value.domainUuid) });
    case "inspectMachine":
      return CommandResult.create({ commandId, machine: await inspectMachine(tools, action.value) });
    case "compareCpu":
      return CommandResult.create({ commandId, cpu: await compare(tools, action.value) });
    case "probeAddress":
      return CommandResult.create({ commandId, probe: await tools.probe(action.value.address) });
    case "actOnDomain":
      return CommandResult.create({ commandId, act: DomainActResult.create(await tools.act(action.value)) });
    case undefined:
      return CommandResult.create({ commandId, error: "This version of the agent does not know the command" });
  }
}

async function compare({ hypervisor, emulator }: CommandTools, { cpu, domainType, machineType, architecture }: CompareCpu): Promise<CpuComparison> {
  if (!cpu) return CpuComparison.create({ compatible: false, message: "no CPU was named" });
  const { compatible, message } = await hypervisor.compareCpu({ cpuXml: cpuXml(cpu), emulator: await emulator(), architecture, machineType, domainType });
  return CpuComparison.create({ compatible, message: oneLine(message) });
}
