/** Every service, and the listener that it belongs to. */
import { NodeAgentServiceDefinition } from "../../gen/drover/agent/v1/agent.ts";
import { LeadershipServiceDefinition } from "../../gen/drover/control/v1/leadership.ts";
import { EventServiceDefinition } from "../../gen/drover/v1/event.ts";
import { MigrationServiceDefinition } from "../../gen/drover/v1/migration.ts";
import { NamespaceServiceDefinition } from "../../gen/drover/v1/namespace.ts";
import { NodeServiceDefinition } from "../../gen/drover/v1/node.ts";
import { VirtualMachineServiceDefinition } from "../../gen/drover/v1/virtual_machine.ts";
import { VirtualMachineInstanceServiceDefinition } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { VolumeServiceDefinition } from "../../gen/drover/v1/volume.ts";
import { recordEvent } from "../records/events.ts";
import type { Assignments } from "../sessions/assignments.ts";
import type { NodeSessions } from "../sessions/node-sessions.ts";
import { ProgressPace } from "../sessions/progress-pace.ts";
import type { Tombstones } from "../sessions/tombstones.ts";
import type { Tunnels } from "../sessions/tunnels.ts";
import { eventRecords } from "./event.ts";
import { leadershipService } from "./leadership.ts";
import { migrationVerbs } from "./migration-verbs.ts";
import { migrationRecords } from "./migration.ts";
import { namespaceRecords } from "./namespace.ts";
import { type NodeAgentParts, nodeAgentService } from "./node-agent.ts";
import { nodeVerbs } from "./node-verbs.ts";
import { nodeRecords } from "./node.ts";
import { type Service, service, type ServiceParts } from "./service.ts";
import { virtualMachineInstanceVerbs } from "./virtual-machine-instance-verbs.ts";
import { virtualMachineInstanceRecords } from "./virtual-machine-instance.ts";
import { virtualMachineVerbs } from "./virtual-machine-verbs.ts";
import { virtualMachineRecords } from "./virtual-machine.ts";
import { volumeRecords } from "./volume.ts";

export type TableParts = ServiceParts & { sessions: NodeSessions; assignments: Assignments; tunnels: Tunnels; tombstones: Tombstones };

/** For users, local administrators and the controller. */
export function publicServices(parts: TableParts): Service[] {
  return [
    service(VirtualMachineServiceDefinition, { ...virtualMachineRecords(parts), ...virtualMachineVerbs(parts) }),
    service(VirtualMachineInstanceServiceDefinition, { ...virtualMachineInstanceRecords(parts), ...virtualMachineInstanceVerbs(parts) }),
    service(MigrationServiceDefinition, { ...migrationRecords(parts), ...migrationVerbs(parts) }),
    service(NodeServiceDefinition, { ...nodeRecords(parts), ...nodeVerbs(parts) }),
    service(VolumeServiceDefinition, volumeRecords(parts)),
    service(NamespaceServiceDefinition, namespaceRecords(parts)),
    service(EventServiceDefinition, eventRecords(parts)),
    service(LeadershipServiceDefinition, leadershipService(parts)),
  ];
}

/** For node agents, with certificates. */
export function agentServices(parts: TableParts): Service[] {
  const record: NodeAgentParts["recordEvent"] = (event, call) => recordEvent(parts, event, call);
  return [service(NodeAgentServiceDefinition, nodeAgentService({ ...parts, pace: new ProgressPace(parts.clock), recordEvent: record }))];
}
