/** What may not be deleted yet. */
import assert from "node:assert/strict";
import { MigrationPhase, VirtualMachineInstanceMigration } from "../../../gen/drover/v1/migration.ts";
import { Node, NodeSessionState } from "../../../gen/drover/v1/node.ts";
import { VirtualMachineInstance } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { Volume } from "../../../gen/drover/v1/volume.ts";
import { FailedPrecondition, NotFound } from "../../../lib/errors.ts";
import { silentLog } from "../../../lib/log.ts";
import { migrations, nodes, virtualMachineInstances, volumes } from "../../../api-server/kinds/table.ts";
import { checkMigrationEnded, checkNodeEmpty, checkVolumeFree } from "../../../api-server/services/deletion.ts";
import { admin, callBy, machine, makeObjects, refusedAs } from "./fixture.ts";

const setUp = async () => ({ ...(await makeObjects()), log: silentLog, stopping: new AbortController().signal });

describe("deletion", () => {
  it("waits for a migration to end", async () => {
    const parts = await setUp();
    const key = { namespace: "default", name: "web-1" };
    await parts.objects.create(migrations, VirtualMachineInstanceMigration.create({ metadata: { name: "web-1" }, spec: { vmiName: "web" } }), callBy(admin));
    await assert.rejects(checkMigrationEnded(parts, key), refusedAs(FailedPrecondition, "MIGRATION_OPEN"));
    await parts.objects.change(migrations, key, (current) => ({ ...current, status: { ...current.status!, phase: MigrationPhase.SUCCEEDED } }), callBy(admin));
    await checkMigrationEnded(parts, key);
  });

  it("leaves a volume that is held", async () => {
    const parts = await setUp();
    const held = { holder: { namespace: "default", name: "web", vmiUid: "u", epoch: 1 } };
    await parts.objects.create(volumes, Volume.create({ metadata: { name: "p.a" }, spec: { poolId: "p", image: "a" }, status: held }), callBy(admin));
    await parts.objects.create(volumes, Volume.create({ metadata: { name: "p.b" }, spec: { poolId: "p", image: "b" } }), callBy(admin));
    await assert.rejects(checkVolumeFree(parts, { name: "p.a" }), refusedAs(FailedPrecondition, "VOLUME_HELD"));
    await checkVolumeFree(parts, { name: "p.b" });
  });

  it("leaves a node that is connected or has machines, or that one moves to", async () => {
    const parts = await setUp();
    const node = (name: string, state: NodeSessionState) =>
      parts.objects.create(nodes, Node.create({ metadata: { name }, status: { session: { state } } }), callBy(admin));
    await Promise.all([node("on", NodeSessionState.CONNECTED), node("a", NodeSessionState.SILENT), node("b", NodeSessionState.SILENT), node("c", NodeSessionState.SILENT)]);
    const status = { nodeName: "a", migration: { uid: "m", targetNode: "b" } };
    const spec = machine().spec!.template!.spec!;
    await parts.objects.create(virtualMachineInstances, VirtualMachineInstance.create({ metadata: { name: "web" }, spec, status }), callBy(admin));
    await assert.rejects(checkNodeEmpty(parts, { name: "on" }), refusedAs(FailedPrecondition, "NODE_CONNECTED"));
    for (const name of ["a", "b"]) await assert.rejects(checkNodeEmpty(parts, { name }), refusedAs(FailedPrecondition, "NODE_HAS_MACHINES"));
    await checkNodeEmpty(parts, { name: "c" });
    await assert.rejects(checkNodeEmpty(parts, { name: "none" }), NotFound);
  });
});
