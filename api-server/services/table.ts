/** Every service, and the listener that it belongs to. */
import { NodeAgentServiceDefinition } from "../../gen/drover/agent/v1/agent.ts";
import { EnrolmentServiceDefinition } from "../../gen/drover/agent/v1/enrolment.ts";
import { AuditServiceDefinition } from "../../gen/drover/v1/audit.ts";
import { AuthServiceDefinition } from "../../gen/drover/v1/auth.ts";
import { ControlEventServiceDefinition } from "../../gen/drover/control/v1/events.ts";
import { LeadershipServiceDefinition } from "../../gen/drover/control/v1/leadership.ts";
import { EventServiceDefinition } from "../../gen/drover/v1/event.ts";
import { MigrationServiceDefinition } from "../../gen/drover/v1/migration.ts";
import { MigrationPolicyServiceDefinition } from "../../gen/drover/v1/migration_policy.ts";
import { NamespaceServiceDefinition } from "../../gen/drover/v1/namespace.ts";
import { NodeServiceDefinition } from "../../gen/drover/v1/node.ts";
import { RoleServiceDefinition } from "../../gen/drover/v1/role.ts";
import { RoleBindingServiceDefinition } from "../../gen/drover/v1/role_binding.ts";
import { VirtualMachineServiceDefinition } from "../../gen/drover/v1/virtual_machine.ts";
import { VirtualMachineInstanceServiceDefinition } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { VolumeServiceDefinition } from "../../gen/drover/v1/volume.ts";
import { recordEvent } from "../records/events.ts";
import type { Assignments } from "../sessions/assignments.ts";
import type { LiveProgress } from "../sessions/live-progress.ts";
import type { NodeIdentities } from "../sessions/node-identities.ts";
import type { NodeSessions } from "../sessions/node-sessions.ts";
import { ProgressPace } from "../sessions/progress-pace.ts";
import type { Tombstones } from "../sessions/tombstones.ts";
import type { Tunnels } from "../sessions/tunnels.ts";
import { type AuditParts, auditService } from "./audit.ts";
import { type AuthParts, authService } from "./auth.ts";
import type { SeenPlans } from "./drain.ts";
import { enrolmentService } from "./enrolment.ts";
import { controlEvents, eventRecords } from "./event.ts";
import { leadershipService } from "./leadership.ts";
import { migrationPolicyRecords } from "./migration-policy.ts";
import { migrationVerbs } from "./migration-verbs.ts";
import { migrationRecords } from "./migration.ts";
import { namespaceRecords } from "./namespace.ts";
import { type NodeAgentParts, nodeAgentService } from "./node-agent.ts";
import type { NodeCertificates } from "./node-certificates.ts";
import { nodeVerbs } from "./node-verbs.ts";
import { nodeRecords } from "./node.ts";
import { roleBindingRecords } from "./role-binding.ts";
import { roleRecords } from "./role.ts";
import { type Service, service, type ServiceParts } from "./service.ts";
import { virtualMachineInstanceVerbs } from "./virtual-machine-instance-verbs.ts";
import { virtualMachineInstanceRecords } from "./virtual-machine-instance.ts";
import { virtualMachineVerbs } from "./virtual-machine-verbs.ts";
import { virtualMachineRecords } from "./virtual-machine.ts";
import { volumeRecords } from "./volume.ts";

export type TableParts = ServiceParts & AuthParts & AuditParts & {
  sessions: NodeSessions;
  identities: NodeIdentities;
  assignments: Assignments;
  tunnels: Tunnels;
  live: LiveProgress;
  tombstones: Tombstones;
  plans: SeenPlans;
};

/** For users, local administrators and the controller. */
export function publicServices(parts: TableParts): Service[] {
  return [
    service(VirtualMachineServiceDefinition, { ...virtualMachineRecords(parts), ...virtualMachineVerbs(parts) }),
    service(VirtualMachineInstanceServiceDefinition, { ...virtualMachineInstanceRecords(parts), ...virtualMachineInstanceVerbs(parts) }),
    service(MigrationServiceDefinition, { ...migrationRecords(parts), ...migrationVerbs(parts) }),
    service(MigrationPolicyServiceDefinition, migrationPolicyRecords(parts)),
    service(NodeServiceDefinition, { ...nodeRecords(parts), ...nodeVerbs(parts) }),
    service(VolumeServiceDefinition, volumeRecords(parts)),
    service(NamespaceServiceDefinition, namespaceRecords(parts)),
    service(EventServiceDefinition, eventRecords(parts)),
    service(RoleServiceDefinition, roleRecords(parts)),
    service(RoleBindingServiceDefinition, roleBindingRecords(parts)),
    service(AuthServiceDefinition, authService(parts)),
    service(AuditServiceDefinition, auditService(parts)),
    service(LeadershipServiceDefinition, leadershipService(parts)),
    service(ControlEventServiceDefinition, controlEvents(parts)),
  ];
}

type WithCertificates = TableParts & { certificates: NodeCertificates };

const recorder = (parts: TableParts): NodeAgentParts["recordEvent"] => (event, call) => recordEvent(parts, event, call);

/** For node agents, with certificates. */
export function agentServices(parts: WithCertificates): Service[] {
  return [service(NodeAgentServiceDefinition, nodeAgentService({ ...parts, pace: new ProgressPace(parts.clock), recordEvent: recorder(parts) }))];
}

/** For hosts that are to become nodes. */
export function enrolmentServices(parts: WithCertificates): Service[] {
  return [service(EnrolmentServiceDefinition, enrolmentService({ ...parts, recordEvent: recorder(parts) }))];
}
