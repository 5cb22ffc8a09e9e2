/** What a node is to an instance, by the instance's record alone. Pure. */
import { AssignmentRole } from "../../gen/drover/agent/v1/agent.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { PermissionDenied } from "../../lib/errors.ts";

/** Undefined when the instance does not concern the node. The owner is nothing else besides. */
export function roleOf({ status }: VirtualMachineInstance, node: string): AssignmentRole | undefined {
  if (status?.nodeName === node) return AssignmentRole.OWNER;
  const migration = status?.migration;
  if (migration && !migration.handedOff && migration.targetNode === node) return AssignmentRole.INCOMING;
  if (migration?.handedOff && migration.sourceNode === node) return AssignmentRole.OUTGOING;
  return undefined;
}

/** Every node that the instance may concern. */
export function nodesOf(instance: VirtualMachineInstance | undefined): string[] {
  const { nodeName, migration } = instance?.status ?? {};
  return [nodeName, migration?.sourceNode, migration?.targetNode].filter((node): node is string => node !== undefined && node !== "");
}

/** Its owner, and both ends of its open migration, may know of it. */
export const concerns = (instance: VirtualMachineInstance, node: string): boolean => nodesOf(instance).includes(node);

/** What a node is told of everything that is not its own, whether it exists or not. */
export const notYours = () => new PermissionDenied("It is not this node's", { reason: "NOT_YOURS" });
