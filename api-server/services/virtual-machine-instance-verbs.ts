/** What is done to an instance besides its record: release after its domain is gone, and its console. */
import { ReleaseReason } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type {
  ReadConsoleRequest, ReadConsoleResponse, ReleaseVirtualMachineInstanceRequest, VirtualMachineInstance, VirtualMachineInstanceServiceImplementation,
} from "../../gen/drover/v1/virtual_machine_instance.ts";
import { nodes } from "../kinds/node.ts";
import { virtualMachineInstances } from "../kinds/virtual-machine-instance.ts";
import { virtualMachines } from "../kinds/virtual-machine.ts";
import type { Call, Objects, WithCall } from "../objects.ts";
import { refuse, VMI } from "../subresources/refusal.ts";
import { release } from "../subresources/release.ts";
import { TunnelKind } from "../../gen/drover/agent/v1/agent.ts";
import type { Assignments } from "../sessions/assignments.ts";
import type { NodeSessions } from "../sessions/node-sessions.ts";
import type { Tombstones } from "../sessions/tombstones.ts";
import { moved } from "../sessions/tunnels.ts";
import type { Tunnels } from "../sessions/tunnels.ts";

type Verbs = Pick<VirtualMachineInstanceServiceImplementation<WithCall>, "releaseVirtualMachineInstance" | "readConsole">;
export type InstanceVerbsParts = {
  objects: Objects;
  sessions: NodeSessions;
  assignments: Assignments;
  tunnels: Tunnels;
  tombstones: Tombstones;
};

const TAIL_BYTES_DEFAULT = 65_536;

export function virtualMachineInstanceVerbs(parts: InstanceVerbsParts): Verbs {
  return {
    async releaseVirtualMachineInstance(request, { call }) {
      return { virtualMachineInstance: await releaseInstance(parts, request, call) };
    },
    readConsole: (request, { signal }) => readConsole(parts, request, signal),
  };
}

type ReleaseRequest = Pick<ReleaseVirtualMachineInstanceRequest, "namespace" | "name" | "uid" | "reason" | "resourceVersion">;

async function releaseInstance({ objects, tombstones }: InstanceVerbsParts, request: ReleaseRequest, call: Call): Promise<VirtualMachineInstance> {
  const { uid, reason, resourceVersion } = request;
  const key = { namespace: request.namespace || "default", name: request.name };
  const instance = await objects.get(virtualMachineInstances, key);
  const owner = instance.status?.nodeName ?? "";
  const [vm, node] = await Promise.all([
    objects.find(virtualMachines, key),
    owner === "" ? undefined : objects.find(nodes, { name: owner }),
  ]);
  const evidence = { uid, reason, vm, node };
  // The tombstone stands first: from the release on, a domain of this run that comes back must find it.
  if (reason === ReleaseReason.FENCED && release(instance, evidence) !== undefined) await tombstones.put(instance, node);
  return objects.change(virtualMachineInstances, key, (current) => release(current, evidence), { ...call, expected: resourceVersion });
}

async function* readConsole(parts: InstanceVerbsParts, request: ReadConsoleRequest, signal: AbortSignal): AsyncGenerator<ReadConsoleResponse> {
  const key = { namespace: request.namespace || "default", name: request.name };
  const instance = await parts.objects.get(virtualMachineInstances, key);
  const { nodeName, epoch } = withConsole(instance);
  const vmiUid = instance.metadata!.uid;
  const session = parts.sessions.reach(nodeName);
  const { follow, tailBytes = TAIL_BYTES_DEFAULT } = request;
  using tunnel = await parts.tunnels.offer(session, { vmiUid, epoch, kind: TunnelKind.CONSOLE_OUTPUT, follow, tailBytes });
  using _listening = parts.assignments.listen(vmiUid, (now) => {
    if (now && now.status?.nodeName !== nodeName) tunnel.end(moved());
  });
  const leave = () => tunnel.end();
  signal.addEventListener("abort", leave, { once: true });
  try {
    yield { data: Buffer.alloc(0) };
    for await (const data of tunnel.data) yield { data };
  } finally {
    signal.removeEventListener("abort", leave);
  }
}

/** Where its console is; refuses an instance that has none. */
function withConsole(instance: VirtualMachineInstance): { nodeName: string; epoch: number } {
  const { nodeName = "", claim, epoch = 0 } = instance.status ?? {};
  if (instance.spec?.domain?.devices?.autoattachSerialConsole === false) {
    refuse("NO_CONSOLE", { plural: VMI, object: instance }, "The machine has no serial console");
  }
  if (!claim || nodeName === "") refuse("NOT_STARTED", { plural: VMI, object: instance }, "The machine has not been started on a node yet");
  return { nodeName, epoch };
}
