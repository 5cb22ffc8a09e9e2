/** Who may call what: one row for each RPC, by the least role. A call without a row is refused. Pure. */
import { PermissionDenied } from "../../lib/errors.ts";
import type { Caller } from "../objects.ts";

/** Users may do what administrators do until users have identities: whoever reaches their listener is on this machine. */
type Least = "user" | "control-plane" | "node";

const READS = ["Get", "List", "Watch"];
const CHANGES = [...READS, "Create", "Update", "Delete"];

const user = (service: string, verbs: string[], one: string, many: string) =>
  verbs.map((verb): [string, Least] => [`/drover.v1.${service}/${verb}${verb === "List" || verb === "Watch" ? many : one}`, "user"]);

/** By name, so that a new RPC has no rights until somebody has thought of it. */
export const LEAST_ROLE: ReadonlyMap<string, Least> = new Map<string, Least>([
  ...user("VirtualMachineService", CHANGES, "VirtualMachine", "VirtualMachines"),
  ["/drover.v1.VirtualMachineService/UpdateVirtualMachineStatus", "control-plane"],
  ["/drover.v1.VirtualMachineService/StartVirtualMachine", "user"],
  ["/drover.v1.VirtualMachineService/StopVirtualMachine", "user"],
  ["/drover.v1.VirtualMachineService/RestartVirtualMachine", "user"],
  ["/drover.v1.VirtualMachineService/MigrateVirtualMachine", "user"],
  ["/drover.v1.VirtualMachineService/ExplainVirtualMachine", "user"],
  ...user("VirtualMachineInstanceService", CHANGES, "VirtualMachineInstance", "VirtualMachineInstances"),
  ["/drover.v1.VirtualMachineInstanceService/UpdateVirtualMachineInstanceStatus", "control-plane"],
  ["/drover.v1.VirtualMachineInstanceService/ReleaseVirtualMachineInstance", "control-plane"],
  ["/drover.v1.VirtualMachineInstanceService/ReadConsole", "user"],
  ...user("MigrationService", [...READS, "Create", "Delete"], "VirtualMachineInstanceMigration", "VirtualMachineInstanceMigrations"),
  ["/drover.v1.MigrationService/UpdateVirtualMachineInstanceMigrationStatus", "control-plane"],
  ["/drover.v1.MigrationService/CancelMigration", "user"],
  ...user("NodeService", CHANGES, "Node", "Nodes"),
  ["/drover.v1.NodeService/UpdateNodeStatus", "control-plane"],
  ["/drover.v1.NodeService/CordonNode", "user"],
  ["/drover.v1.NodeService/UncordonNode", "user"],
  ["/drover.v1.NodeService/ConfirmFenced", "user"],
  ...user("VolumeService", CHANGES, "Volume", "Volumes"),
  ["/drover.v1.VolumeService/UpdateVolumeStatus", "control-plane"],
  ...user("NamespaceService", CHANGES, "Namespace", "Namespaces"),
  ...user("EventService", [...READS, "Create", "Delete"], "Event", "Events"),
  ["/drover.control.v1.LeadershipService/Lead", "control-plane"],
  ["/drover.agent.v1.NodeAgentService/Session", "node"],
  ["/drover.agent.v1.NodeAgentService/Renew", "node"],
  ["/drover.agent.v1.NodeAgentService/Claim", "node"],
  ["/drover.agent.v1.NodeAgentService/Report", "node"],
  ["/drover.agent.v1.NodeAgentService/LookupMachine", "node"],
  ["/drover.agent.v1.NodeAgentService/Attach", "node"],
]);

const SUFFICIENT: Record<Least, readonly Caller["role"][]> = {
  user: ["user", "admin", "control-plane"],
  "control-plane": ["admin", "control-plane"],
  node: ["node"],
};

export function checkRole(rpc: string, { role, subject }: Caller): void {
  const least = LEAST_ROLE.get(rpc);
  if (least !== undefined && SUFFICIENT[least].includes(role)) return;
  throw new PermissionDenied(`"${subject}" may not call ${rpc}`);
}
