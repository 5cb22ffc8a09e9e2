/** What an agent keeps on its host, and the ports over it: the disk stays, whoever dies. */
import { ReportRequest } from "../../../gen/drover/agent/v1/agent.ts";
import { DiskFormat } from "../../../gen/drover/v1/machine.ts";
import { NodePool } from "../../../gen/drover/v1/node.ts";
import type { VirtualMachineInstance } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import type { PreparedMachine } from "../../../node-agent/domain/parts.ts";
import type { Doors, OpenMigration } from "../../../node-agent/door/doors.ts";
import type { EventJournal } from "../../../node-agent/event-journal.ts";
import type { Endings } from "../../../node-agent/machine/endings.ts";
import type { Ending, Passage } from "../../../node-agent/machine/observed.ts";
import { machinePaths } from "../../../node-agent/storage/paths.ts";
import { StorageError } from "../../../node-agent/storage/storage.ts";
import type { Storage } from "../../../node-agent/storage/storage.ts";
import { noCopies } from "../../no-copies.ts";
import type { SimHost } from "../hypervisor/host.ts";
import type { Life } from "../world/life.ts";
import type { Failpoints } from "./failpoints.ts";

export const POOL = "shared";
export const POOL_ID = "5f0c0000-0000-4000-8000-000000000001";
const STATE = "/var/lib/drover";
const GIB = 1024 ** 3;
const PREPARE_MS: [number, number] = [5, 120];
const DOOR_MS: [number, number] = [20, 400];

/** The files of one host. */
export class HostFiles {
  storeId: string | undefined;
  readonly endings = new Map<string, Ending>();
  /** Encoded, as on a disk. */
  journal: Uint8Array[] = [];
  readonly machines = new Set<string>();
}

export type FilesHome = { host: SimHost; files: HostFiles; life: Life; failpoints: Failpoints };

export function journalOn({ files, life, failpoints }: FilesHome): EventJournal {
  const encode = (request: ReportRequest) => ReportRequest.encode(request).finish();
  return {
    read: () => files.journal.map((bytes) => ({ request: ReportRequest.decode(bytes) })),
    append: ({ request }) => {
      if (!failpoints.passes(life, "node-agent.journal.before")) files.journal.push(encode(request));
    },
    acknowledge: (waiting) => {
      if (!life.dead) files.journal = waiting.map(({ request }) => encode(request));
    },
  };
}

export function endingsOn({ files, life, failpoints }: FilesHome): Endings {
  return {
    read: (vmiUid) => files.endings.get(vmiUid),
    write: (ending) => {
      if (failpoints.passes(life, "node-agent.ending.before")) return;
      files.endings.set(ending.vmiUid, ending);
      failpoints.passes(life, "node-agent.ending.after");
    },
    remove: (vmiUid) => {
      if (!life.dead) files.endings.delete(vmiUid);
    },
    list: () => [...files.endings.keys()],
  };
}

export function storeOn({ files }: FilesHome): { matches(storeId: string): boolean; known(): string | undefined } {
  return {
    known: () => files.storeId,
    matches: (storeId) => (files.storeId ??= storeId) === storeId,
  };
}

/** Work on the host that takes a while, and is never heard of by a dead agent. */
function after<T>({ host, life }: FilesHome, [fromMs, toMs]: [number, number], work: () => T): Promise<T> {
  return new Promise((resolve, reject) =>
    host.world.after(host.chance.between(fromMs, toMs), () =>
      life.enter(() => {
        try {
          resolve(work());
        } catch (error) {
          reject(error as Error);
        }
      })));
}

/** One pool that every host sees. */
export function storageOn(home: FilesHome): Storage {
  const { files, life } = home;
  const prepare = (instance: VirtualMachineInstance): Promise<PreparedMachine> =>
    after(home, PREPARE_MS, () => {
      const uids = uidsOf(instance);
      files.machines.add(uids.vmiUid);
      const disks = (instance.spec?.volumes ?? []).flatMap(({ name, source }) => {
        if (source?.$case !== "disk") return [];
        const { pool, image, format } = source.value;
        if (pool !== POOL) throw new StorageError("PoolMissing", `There is no pool "${pool}"`);
        return [[name, { path: `/pools/${pool}/${image}`, format: format === DiskFormat.QCOW2 ? "qcow2" : "raw", kind: "pool" }] as const];
      });
      return { paths: machinePaths(STATE, uids), disks: Object.fromEntries(disks) };
    });
  return {
    pools: async () => [NodePool.create({ name: POOL, id: POOL_ID, capacityBytes: 1_000 * GIB, availableBytes: 900 * GIB })],
    inspect: async () => undefined,
    prepareDisks: prepare,
    prepareIncoming: prepare,
    removeMachineFiles: async (vmiUid) => {
      if (!life.dead) files.machines.delete(vmiUid);
    },
    firmwareVariables: { owners: async () => [], remove: async () => undefined },
    paths: (uids) => machinePaths(STATE, uids),
    machines: async () => [...files.machines],
    // Every disk is in the pool that all hosts share, so that none is copied.
    copies: noCopies,
    transfers: { list: () => [], write: () => undefined, remove: () => undefined },
  };
}

function uidsOf({ metadata }: VirtualMachineInstance): { vmiUid: string; vmUid: string } {
  const owner = metadata?.ownerReferences.find(({ kind }) => kind === "VirtualMachine");
  return { vmiUid: metadata!.uid, vmUid: owner?.uid ?? metadata!.uid };
}

/** Doors are processes of their own, so that they outlive the agent; what leads to one is known by its migration. */
export function doorsOn(home: FilesHome): Doors {
  const { host, life, failpoints } = home;
  return {
    openDoor: ({ uid }) =>
      after(home, DOOR_MS, () => {
        if (!failpoints.passes(life, "node-agent.door.before")) host.doors.add(uid);
        failpoints.passes(life, "node-agent.door.after");
        return `${host.name}:49000`;
      }),
    openPassage: ({ uid, target, targetNode }): Promise<Passage> =>
      after(home, DOOR_MS, () => {
        if (!target?.doorAddress) throw new Error("The target has told of no door");
        return { uri: `sim://${targetNode}/${uid}`, tlsDestination: `${targetNode}.migration` };
      }),
    close: (uid) => {
      if (!life.dead) host.doors.delete(uid);
    },
    attend: (open: readonly OpenMigration[]) => {
      if (life.dead) return;
      const attended = new Set(open.filter(({ kind }) => kind === "door").map(({ uid }) => uid));
      for (const uid of Array.from(host.doors)) if (!attended.has(uid)) host.doors.delete(uid);
    },
    stop: () => undefined,
  };
}
