/**
 * What each RPC is: one row for each, by name, so that a new RPC has no rights until somebody has thought of it. A row
 * says which right the call needs and where the request names its object, or which class of caller it is for. Pure.
 */
import { PermissionDenied } from "../../lib/errors.ts";
import type { Question } from "../auth/authorizer.ts";
import type { Caller } from "../objects.ts";

/** For callers of one kind, whatever they ask about. "identified" is everybody but nodes. */
export type Class = "anonymous" | "identified" | "control-plane" | "node";

/** Where a request says what it is about. */
type Place =
  /** Its own `namespace` and `name`. */
  | { in: "request" }
  /** Its own `namespace`; empty is every one. */
  | { in: "collection" }
  /** `metadata` of the object in this field. */
  | { in: "object"; field: string }
  /** What the event in it is about, beside which it is recorded. */
  | { in: "event" };

export type Right = { verb: string; kind: string; place: Place };
export type Row = Class | Right;

const REQUEST: Place = { in: "request" };
const COLLECTION: Place = { in: "collection" };

/** Where events about objects without a namespace stand. */
const NO_NAMESPACE = "_";
const DEFAULT_NAMESPACE = "default";
const NAMESPACED: ReadonlySet<string> = new Set(["VirtualMachine", "VirtualMachineInstance", "VirtualMachineInstanceMigration", "Event"]);

export const isNamespaced = (kind: string): boolean => NAMESPACED.has(kind);

type Records = { service: string; kind: string; many: string; field: string; without?: readonly string[] };

/** The six calls that kinds of records share. */
function records({ service, kind, many, field, without = [] }: Records): [string, Row][] {
  const rows: [string, string, Place][] = [
    ["create", `Create${kind}`, { in: "object", field }],
    ["get", `Get${kind}`, REQUEST],
    ["list", `List${many}`, COLLECTION],
    ["watch", `Watch${many}`, COLLECTION],
    ["update", `Update${kind}`, { in: "object", field }],
    ["delete", `Delete${kind}`, REQUEST],
  ];
  return rows.filter(([verb]) => !without.includes(verb)).map(([verb, rpc, place]) => [`/drover.v1.${service}/${rpc}`, { verb, kind, place }]);
}

const verb = (rpc: string, name: string, kind: string): [string, Row] => [`/drover.v1.${rpc}`, { verb: name, kind, place: REQUEST }];

export const ROWS: ReadonlyMap<string, Row> = new Map<string, Row>([
  ...records({ service: "VirtualMachineService", kind: "VirtualMachine", many: "VirtualMachines", field: "virtualMachine" }),
  ["/drover.v1.VirtualMachineService/UpdateVirtualMachineStatus", "control-plane"],
  verb("VirtualMachineService/StartVirtualMachine", "start", "VirtualMachine"),
  verb("VirtualMachineService/StopVirtualMachine", "stop", "VirtualMachine"),
  verb("VirtualMachineService/RestartVirtualMachine", "restart", "VirtualMachine"),
  verb("VirtualMachineService/PauseVirtualMachine", "pause", "VirtualMachine"),
  verb("VirtualMachineService/UnpauseVirtualMachine", "unpause", "VirtualMachine"),
  verb("VirtualMachineService/ResetVirtualMachine", "reset", "VirtualMachine"),
  verb("VirtualMachineService/MigrateVirtualMachine", "migrate", "VirtualMachine"),
  verb("VirtualMachineService/ExplainVirtualMachine", "explain", "VirtualMachine"),
  ...records({
    service: "VirtualMachineInstanceService", kind: "VirtualMachineInstance", many: "VirtualMachineInstances", field: "virtualMachineInstance",
  }),
  ["/drover.v1.VirtualMachineInstanceService/UpdateVirtualMachineInstanceStatus", "control-plane"],
  ["/drover.v1.VirtualMachineInstanceService/ReleaseVirtualMachineInstance", "control-plane"],
  verb("VirtualMachineInstanceService/ReadConsole", "console", "VirtualMachineInstance"),
  ...records({
    service: "MigrationService", kind: "VirtualMachineInstanceMigration", many: "VirtualMachineInstanceMigrations", field: "migration",
    without: ["update"],
  }),
  ["/drover.v1.MigrationService/UpdateVirtualMachineInstanceMigrationStatus", "control-plane"],
  verb("MigrationService/CheckMigration", "check-migration", "VirtualMachine"),
  verb("MigrationService/CancelMigration", "cancel", "VirtualMachineInstanceMigration"),
  ...records({ service: "MigrationPolicyService", kind: "MigrationPolicy", many: "MigrationPolicies", field: "migrationPolicy" }),
  ...records({ service: "NodeService", kind: "Node", many: "Nodes", field: "node" }),
  ["/drover.v1.NodeService/UpdateNodeStatus", "control-plane"],
  verb("NodeService/CordonNode", "cordon", "Node"),
  verb("NodeService/UncordonNode", "uncordon", "Node"),
  verb("NodeService/PlanDrain", "drain", "Node"),
  verb("NodeService/DrainNode", "drain", "Node"),
  verb("NodeService/ConfirmFenced", "confirm-fenced", "Node"),
  verb("NodeService/CreateNodeToken", "create-token", "Node"),
  verb("NodeService/RevokeNode", "revoke", "Node"),
  ...records({ service: "VolumeService", kind: "Volume", many: "Volumes", field: "volume" }),
  ["/drover.v1.VolumeService/UpdateVolumeStatus", "control-plane"],
  ...records({ service: "NamespaceService", kind: "Namespace", many: "Namespaces", field: "namespace" }),
  ...records({ service: "EventService", kind: "Event", many: "Events", field: "event", without: ["create", "update"] }),
  ["/drover.v1.EventService/CreateEvent", { verb: "create", kind: "Event", place: { in: "event" } }],
  ...records({ service: "RoleService", kind: "Role", many: "Roles", field: "role" }),
  ...records({ service: "RoleBindingService", kind: "RoleBinding", many: "RoleBindings", field: "roleBinding" }),
  ["/drover.v1.AuthService/WhoAmI", "identified"],
  ["/drover.v1.AuthService/CheckAccess", "identified"],
  verb("AuthService/CreateServiceToken", "create", "ServiceToken"),
  ["/drover.v1.AuthService/ListServiceTokens", { verb: "list", kind: "ServiceToken", place: COLLECTION }],
  verb("AuthService/RevokeServiceToken", "revoke", "ServiceToken"),
  ["/drover.v1.AuthService/SignUserCertificate", { verb: "create", kind: "UserCertificate", place: COLLECTION }],
  ["/drover.v1.AuditService/ListAuditEntries", { verb: "list", kind: "AuditEntry", place: COLLECTION }],
  ["/drover.v1.AuditService/ExportAuditEntries", { verb: "export", kind: "AuditEntry", place: COLLECTION }],
  ["/drover.v1.AuditService/VerifyAudit", { verb: "verify", kind: "AuditEntry", place: COLLECTION }],
  ["/drover.agent.v1.EnrolmentService/Enroll", "anonymous"],
  ["/drover.control.v1.LeadershipService/Lead", "control-plane"],
  ["/drover.control.v1.ControlEventService/RecordEvents", "control-plane"],
  ["/drover.agent.v1.NodeAgentService/Session", "node"],
  ["/drover.agent.v1.NodeAgentService/Renew", "node"],
  ["/drover.agent.v1.NodeAgentService/Claim", "node"],
  ["/drover.agent.v1.NodeAgentService/Report", "node"],
  ["/drover.agent.v1.NodeAgentService/LookupMachine", "node"],
  ["/drover.agent.v1.NodeAgentService/Attach", "node"],
  ["/drover.agent.v1.NodeAgentService/RenewCertificate", "node"],
]);

/** Every verb of every kind: what a rule of a role can speak of. */
export const VERBS_OF_KINDS: ReadonlyMap<string, ReadonlySet<string>> = verbsOfKinds();

function verbsOfKinds(): Map<string, Set<string>> {
  const verbs = new Map<string, Set<string>>();
  for (const row of ROWS.values()) {
    if (typeof row !== "string") verbs.set(row.kind, (verbs.get(row.kind) ?? new Set()).add(row.verb));
  }
  return verbs;
}

const SUFFICIENT: Record<Class, readonly Caller["role"][]> = {
  anonymous: ["user", "admin", "control-plane", "node"],
  identified: ["user", "admin", "control-plane"],
  "control-plane": ["admin", "control-plane"],
  node: ["node"],
};

/** The right that the call needs besides its class; undefined when the class was all. Throws PermissionDenied. */
export function requireClass(rpc: string, { role, subject }: Caller): Right | undefined {
  const row = ROWS.get(rpc);
  const needed = typeof row === "object" ? "identified" : row;
  if (needed === undefined || !SUFFICIENT[needed].includes(role)) throw new PermissionDenied(`"${subject}" may not call ${rpc}`);
  return typeof row === "object" ? row : undefined;
}

export const isCollection = ({ place }: Right): boolean => place.in === "collection";

type Named = { namespace?: unknown; name?: unknown };

/** What a request asks for, as the records name it: an empty namespace is the default one, but in a collection every one. */
export function questionOf({ verb, kind, place }: Right, request: Record<string, unknown>): Question {
  const { namespace, name } = namedIn(request, place);
  return { verb, kind, namespace: isNamespaced(kind) ? namespace : "", name };
}

function namedIn(request: Record<string, unknown>, place: Place): { namespace: string; name: string } {
  switch (place.in) {
    case "request":
      return { namespace: text(request["namespace"]) || DEFAULT_NAMESPACE, name: text(request["name"]) };
    case "collection":
      return { namespace: text(request["namespace"]), name: "" };
    case "object": {
      const { metadata = {} } = (request[place.field] ?? {}) as { metadata?: Named };
      return { namespace: text(metadata.namespace) || DEFAULT_NAMESPACE, name: text(metadata.name) };
    }
    case "event": {
      const { regarding = {} } = (request["event"] ?? {}) as { regarding?: Named };
      return { namespace: text(regarding.namespace) || NO_NAMESPACE, name: "" };
    }
  }
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");
