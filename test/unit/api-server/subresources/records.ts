/** Records for the tests of subresources: complete messages with the few fields that a case is about. */
import { Node, NodeSessionState } from "../../../../gen/drover/v1/node.ts";
import { PowerIntent, RunStrategy, VirtualMachine } from "../../../../gen/drover/v1/virtual_machine.ts";
import type { DeepPartial, PowerState, VirtualMachineStatus } from "../../../../gen/drover/v1/virtual_machine.ts";
import { DomainState, Phase, VirtualMachineInstance } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstanceStatus } from "../../../../gen/drover/v1/virtual_machine_instance.ts";

export const NOW = new Date("2026-01-01T00:00:00Z");
export const BOOT = { kernelBootId: "boot-1", pid1StartTime: "1" };

type MachineFields = { strategy?: RunStrategy; power?: DeepPartial<PowerState>; status?: DeepPartial<VirtualMachineStatus>; deleting?: boolean };

export function machine({ strategy = RunStrategy.MANUAL, power = {}, status = {}, deleting = false }: MachineFields = {}): VirtualMachine {
  return VirtualMachine.create({
    metadata: { name: "web", namespace: "default", uid: "vm-1", generation: 1, ...(deleting && { deletionTimestamp: NOW }) },
    spec: { runStrategy: strategy, template: { spec: { domain: {} } } },
    status: { observedGeneration: 1, ...status, power: { intent: PowerIntent.RUN, generation: 1, ...power } },
  });
}

type InstanceFields = { status?: DeepPartial<VirtualMachineInstanceStatus>; deleting?: boolean; owned?: boolean };

/** Runs on node a at epoch 3, claimed, unless the case says otherwise. */
export function instance({ status = {}, deleting = false, owned = true }: InstanceFields = {}): VirtualMachineInstance {
  return VirtualMachineInstance.create({
    metadata: {
      name: "web",
      namespace: "default",
      uid: "vmi-1",
      resourceVersion: "r.1",
      finalizers: ["drover.dev/domain"],
      ownerReferences: owned ? [{ kind: "VirtualMachine", name: "web", uid: "vm-1" }] : [],
      ...(deleting && { deletionTimestamp: NOW }),
    },
    spec: { domain: { cpu: { model: "qemu64" } } },
    status: {
      phase: Phase.RUNNING,
      nodeName: "a",
      epoch: 3,
      lastGrantedEpoch: 3,
      powerGeneration: 1,
      reachedRunning: true,
      claim: { epoch: 3, nodeName: "a", boot: BOOT, agentInstance: "agent-a" },
      ownerReport: { nodeName: "a", epoch: 3, generation: 5, agentInstance: "agent-a", state: DomainState.RUNNING, reason: "booted" },
      ...status,
    },
  });
}

export function node(name: string, { state = NodeSessionState.CONNECTED as NodeSessionState, report = {}, spec = {}, labels = {} }: {
  state?: NodeSessionState;
  report?: object;
  spec?: object;
  labels?: Record<string, string>;
} = {}): Node {
  return Node.create({
    metadata: { name, labels },
    spec,
    status: {
      session: { state, sessionId: `session-${name}`, nodeUid: `uid-${name}`, boot: BOOT },
      report: {
        hypervisorConnected: true,
        cpus: 4,
        memoryBytes: 8 * 1024 ** 3,
        allowEmulation: true,
        machineTypes: ["pc-q35-7.2"],
        machineAliases: { q35: "pc-q35-7.2" },
        cpuModels: ["qemu64"],
        pools: [{ name: "default", id: "pool-1" }],
        ...report,
      },
    },
  });
}

/** The stable word of the refusal, or what was answered instead. */
export function refusalOf(act: () => unknown): string {
  try {
    const answer = act();
    return answer === undefined ? "unchanged" : "changed";
  } catch (error) {
    return (error as { info?: { reason: string } }).info?.reason ?? String(error);
  }
}
