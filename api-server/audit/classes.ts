/**
 * Which calls go into the audit: one row for each RPC, by name, so that a new one is thought of. Whatever the row says, a
 * call that its caller may not make is recorded. Pure.
 */
import type { Caller } from "../objects.ts";

/**
 * "mutation": with the change, in its transaction. "act": it changes no record and is recorded before it is carried out.
 * Both when they are refused, too. `of`: only of callers of this kind. `not`: why not.
 */
export type AuditRow = { as: "mutation" | "act"; of?: Caller["role"] } | { not: string };

const MUTATION: AuditRow = { as: "mutation" };
const ACT: AuditRow = { as: "act" };
const READ: AuditRow = { not: "reads what anybody with the right may read at any time, and no secret" };
const STATUS: AuditRow = { not: "a step of the control plane towards what was asked; the object itself tells of it" };
const REPORT: AuditRow = { not: "what a host says of itself; the object itself tells of it" };

type Records = { service: string; one: string; many: string; without?: readonly string[] };

/** The calls that kinds of records share. */
function records({ service, one, many, without = [] }: Records): [string, AuditRow][] {
  const rows: [string, AuditRow][] = [
    [`Create${one}`, MUTATION], [`Get${one}`, READ], [`List${many}`, READ], [`Watch${many}`, READ], [`Update${one}`, MUTATION], [`Delete${one}`, MUTATION],
  ];
  return rows.filter(([rpc]) => !without.includes(rpc)).map(([rpc, row]) => [`/drover.v1.${service}/${rpc}`, row]);
}

const each = (service: string, row: AuditRow, ...rpcs: string[]): [string, AuditRow][] => rpcs.map((rpc) => [`/drover.${service}/${rpc}`, row]);

export const AUDIT_ROWS: ReadonlyMap<string, AuditRow> = new Map<string, AuditRow>([
  ...records({ service: "VirtualMachineService", one: "VirtualMachine", many: "VirtualMachines" }),
  ...each("v1.VirtualMachineService", MUTATION, "StartVirtualMachine", "StopVirtualMachine", "RestartVirtualMachine", "MigrateVirtualMachine"),
  ...each("v1.VirtualMachineService", ACT, "PauseVirtualMachine", "UnpauseVirtualMachine", "ResetVirtualMachine"),
  ...each("v1.VirtualMachineService", READ, "ExplainVirtualMachine"),
  ...each("v1.VirtualMachineService", STATUS, "UpdateVirtualMachineStatus"),
  ...records({ service: "VirtualMachineInstanceService", one: "VirtualMachineInstance", many: "VirtualMachineInstances" }),
  ...each("v1.VirtualMachineInstanceService", STATUS, "UpdateVirtualMachineInstanceStatus"),
  ...each("v1.VirtualMachineInstanceService", MUTATION, "ReleaseVirtualMachineInstance"),
  ...each("v1.VirtualMachineInstanceService", ACT, "ReadConsole"),
  ...records({
    service: "MigrationService", one: "VirtualMachineInstanceMigration", many: "VirtualMachineInstanceMigrations",
    without: ["UpdateVirtualMachineInstanceMigration"],
  }),
  ...each("v1.MigrationService", MUTATION, "CancelMigration"),
  ...each("v1.MigrationService", READ, "CheckMigration"),
  ...each("v1.MigrationService", STATUS, "UpdateVirtualMachineInstanceMigrationStatus"),
  ...records({ service: "MigrationPolicyService", one: "MigrationPolicy", many: "MigrationPolicies" }),
  ...records({ service: "NodeService", one: "Node", many: "Nodes" }),
  ...each("v1.NodeService", MUTATION, "CordonNode", "UncordonNode", "DrainNode", "ConfirmFenced", "CreateNodeToken", "RevokeNode"),
  ...each("v1.NodeService", READ, "PlanDrain"),
  ...each("v1.NodeService", STATUS, "UpdateNodeStatus"),
  ...records({ service: "VolumeService", one: "Volume", many: "Volumes" }),
  ...each("v1.VolumeService", STATUS, "UpdateVolumeStatus"),
  ...records({ service: "NamespaceService", one: "Namespace", many: "Namespaces" }),
  ...records({ service: "EventService", one: "Event", many: "Events", without: ["CreateEvent", "UpdateEvent"] }),
  // Drover's own programs tell by it what they did; anybody else would make them say it.
  ...each("v1.EventService", { as: "mutation", of: "user" }, "CreateEvent"),
  ...records({ service: "RoleService", one: "Role", many: "Roles" }),
  ...records({ service: "RoleBindingService", one: "RoleBinding", many: "RoleBindings" }),
  ...each("v1.AuthService", READ, "WhoAmI", "CheckAccess", "ListServiceTokens"),
  ...each("v1.AuthService", MUTATION, "CreateServiceToken", "RevokeServiceToken"),
  ...each("v1.AuthService", ACT, "SignUserCertificate"),
  ...each("v1.AuditService", READ, "ListAuditEntries", "VerifyAudit"),
  ...each("v1.AuditService", ACT, "ExportAuditEntries"),
  ...each("control.v1.LeadershipService", { not: "which controller leads is kept in memory and gives it no rights" }, "Lead"),
  ...each("control.v1.ControlEventService", { not: "what the controller tells people about its own steps" }, "RecordEvents"),
  ...each("agent.v1.EnrolmentService", MUTATION, "Enroll"),
  ...each("agent.v1.NodeAgentService", MUTATION, "RenewCertificate"),
  ...each("agent.v1.NodeAgentService", READ, "LookupMachine"),
  ...each("agent.v1.NodeAgentService", REPORT, "Session", "Renew", "Claim", "Report", "Attach"),
]);

/** Undefined when what comes of the call is not recorded. */
export function auditedAs(rpc: string, role: Caller["role"] | undefined): "mutation" | "act" | undefined {
  const row = AUDIT_ROWS.get(rpc);
  if (!row || "not" in row) return undefined;
  return row.of === undefined || row.of === role ? row.as : undefined;
}
