/** What the target of a migration does: make room for the domain, and say what it sees. */
import { DiskCopy, MigrationTargetReport, MigrationTargetState } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { InstanceMigration, VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { copiedDevices } from "../domain/copied-disks.ts";
import { domainName, machineIdentity } from "../domain/identity.ts";
import { active } from "../machine/observed.ts";
import type { TargetMemory } from "../machine/observed.ts";
import { tolerating } from "../machine/tolerating.ts";
import { errorLine } from "../one-line.ts";
import type { Pause, Subject, Tools } from "../machine/tools.ts";
import { address } from "./source-act.ts";
import { targetMemory } from "./target.ts";

export const targetActions = {
  "prepare-incoming": async (_: unknown, subject: Subject, tools: Tools): Promise<Pause> => {
    const { instance, migration, memory } = open(subject);
    try {
      await makeRoom(subject, tools);
      memory.received = await tools.storage.copies.receive(instance);
      const copied = copiedDevices(instance, memory.received.diskCopy);
      memory.door = await tools.doors.openDoor(migration, await tools.incoming(instance), copied);
      // One that was revoked meanwhile is attended no more, so that nobody else would close its door.
      if (!subject.isOpen(migration.uid)) tools.doors.close(migration.uid);
      memory.prepared = true;
      sayAsTarget(subject, tools, { state: MigrationTargetState.READY, message: "", peerGeneration: 0 });
    } catch (error) {
      memory.prepared = true;
      const message = errorLine(error);
      sayAsTarget(subject, tools, { state: MigrationTargetState.REFUSED, message, peerGeneration: 0 });
    }
    return undefined;
  },

  "drop-half": async (_: unknown, { observed, vmiUid }: Subject, { hypervisor, log }: Tools): Promise<Pause> => {
    log.warn({ vmiUid }, "the source's half of the guest is lost: removing the half that is here");
    const { uuid } = observed.domain!;
    await tolerating(hypervisor.destroy(uuid), "no-domain", "invalid-state");
    // What is defined would pass for a guest that arrived and ended.
    await tolerating(hypervisor.undefine(uuid), "no-domain");
    return undefined;
  },

  "say-target": async (word: TargetWord, subject: Subject, tools: Tools): Promise<Pause> => {
    // That nothing is here is proof only while nothing can come.
    if (word.state === MigrationTargetState.ABSENT) tools.doors.close(open(subject).migration.uid);
    sayAsTarget(subject, tools, word);
    return undefined;
  },
};

type TargetWord = { state: MigrationTargetState; message: string; peerGeneration: number };

class NoRoom extends Error {
  override name = "NoRoom";
}

function open({ observed, memory }: Subject): { instance: VirtualMachineInstance; migration: InstanceMigration; memory: TargetMemory } {
  const instance = observed.assignment!.instance!;
  const migration = instance.status!.migration!;
  memory.target = targetMemory({ memory }, migration);
  return { instance, migration, memory: memory.target };
}

/** What an earlier stay of the same run has left here may go; anything else keeps the migration out. */
async function makeRoom(subject: Subject, { hypervisor, memoryUri }: Tools): Promise<void> {
  const { instance } = open(subject);
  if (!memoryUri) throw new NoRoom("This node is not configured to receive migrations");
  const { domain } = subject.observed;
  if (domain && (domain.identity?.vmiUid !== subject.vmiUid || active(domain))) throw new NoRoom(`The domain "${domain.name}" is in the way`);
  if (domain) await hypervisor.undefine(domain.uuid);
  const name = domainName(machineIdentity(instance));
  const named = await hypervisor.findByName(name);
  if (named && named.uuid !== domain?.uuid) throw new NoRoom(`Another domain has the name "${name}"`);
}

function sayAsTarget(subject: Subject, { outbox, self, memoryUri = "" }: Tools, { state, message, peerGeneration }: TargetWord): void {
  const { instance, migration, memory } = open(subject);
  const { boot, agentInstance } = self();
  Object.assign(memory, { said: state, saidPeer: peerGeneration });
  memory.generation = Math.max(memory.generation, migration.target?.generation ?? 0) + 1;
  const report = MigrationTargetReport.create({
    generation: memory.generation, state, message, peerGeneration, boot, agentInstance,
    memoryUri, doorAddress: memory.door || (migration.target?.doorAddress ?? ""),
    diskCopy: memory.received?.diskCopy ?? migration.target?.diskCopy ?? DiskCopy.UNSPECIFIED,
    poolProofs: memory.received?.poolProofs ?? migration.target?.poolProofs ?? {},
  });
  outbox.submit(address(subject, migration.targetEpoch), { $case: "migrationTarget", value: { migrationUid: migration.uid, report } }, () => {
    memory.said = undefined;
    subject.memory.refusedAt = instance.metadata!.resourceVersion;
    subject.poke();
  });
}
