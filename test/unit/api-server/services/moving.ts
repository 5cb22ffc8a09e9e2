/** A machine that runs on "a" and is to move, as far as a test of the API server needs it. */
import { VirtualMachineInstanceMigration } from "../../../../gen/drover/v1/migration.ts";
import {
  DomainState, InstanceMigration, MigrationTargetReport, MigrationTargetState, VirtualMachineInstanceStatus,
} from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { BOOT } from "../subresources/records.ts";
import { Agent, bound, eventually, named, report } from "../sessions/serving.ts";
import type { serve } from "../sessions/serving.ts";

export type Server = Awaited<ReturnType<typeof serve>>;
export const ONCE = { requestId: "", validateOnly: false };
export const MOVE = { namespace: "default", name: "move" };

/** A machine that runs on "a", and a migration of it that nobody has looked at. */
export async function moving(server: Server) {
  const client = await server.node("a");
  const agent = new Agent(client);
  await agent.hear("welcome");
  const vmi = await bound(server, "a");
  await client.claim({ ...named, vmiUid: vmi.metadata!.uid, epoch: 1, boot: BOOT, agentInstance: agent.instance });
  await client.report(report(agent, vmi, 1, { state: DomainState.RUNNING, reason: "booted" }));
  await eventually(async () => (await server.vmis.getVirtualMachineInstance(named)).virtualMachineInstance?.status?.phase === 4);
  const migration = VirtualMachineInstanceMigration.create({ metadata: MOVE, spec: { vmiName: named.name } });
  const { uid } = (await server.migrations.createVirtualMachineInstanceMigration({ migration, ...ONCE })).migration!.metadata!;
  return { client, agent, vmi, uid };
}

export type Moving = Awaited<ReturnType<typeof moving>>;

/** As the controller enters it. */
export async function enter(server: Server, { uid }: Moving, fields: Partial<InstanceMigration> = {}): Promise<void> {
  const vmi = (await server.vmis.getVirtualMachineInstance(named)).virtualMachineInstance!;
  const migration: InstanceMigration = {
    ...InstanceMigration.create({ uid, name: MOVE.name, sourceNode: "a", targetNode: "b", sourceEpoch: 1, targetEpoch: 2 }),
    target: MigrationTargetReport.create({ state: MigrationTargetState.READY }), ...fields,
  };
  await server.vmis.updateVirtualMachineInstanceStatus({ virtualMachineInstance: { ...vmi, status: { ...VirtualMachineInstanceStatus.create(), ...vmi.status, lastGrantedEpoch: 2, migration } } });
}
